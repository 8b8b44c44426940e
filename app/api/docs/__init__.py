"""What the API serves about itself: a guide, a page per problem type, and two viewers of its OpenAPI document.

Everything a page loads comes from here, so it works with no internet and under a strict Content-Security-Policy.
"""

from app.api.docs.routes import docs_router

__all__ = ["docs_router"]
