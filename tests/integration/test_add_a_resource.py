"""A resource takes the files that the README says, and no other: one is made from those of ``items``, and used."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg

from app.dev.reference import RESOURCE_FILES, RESOURCE_LINES
from tests.conftest import make_database
from tests.gunicorn import environment, running_api

MIGRATION = '''
"""Gadgets."""

import sqlalchemy as sa
from alembic import op

revision = "{head:04}"
down_revision = "{before:04}"


def upgrade() -> None:
    """Create the table: that of items, under another name."""
    op.execute("CREATE TABLE gadgets (LIKE items INCLUDING ALL)")
    op.create_foreign_key("fk_gadgets_owner_id_users", "gadgets", "users", ["owner_id"], ["id"], ondelete="RESTRICT")


def downgrade() -> None:
    """Drop it."""
    op.drop_table("gadgets")
'''


def renamed(text: str) -> str:
    return text.replace("item", "gadget").replace("Item", "Gadget")


def add_gadgets(package: Path) -> None:
    """Do what docs/add-a-resource.md says, in a copy of the package."""
    for name in RESOURCE_FILES:
        source = package / Path(name).relative_to("app")
        target = source.with_name(renamed(source.name))
        if target == source:  # one line of a shared file
            text = source.read_text()
            own = [line for line in text.splitlines() if re.match(r"read_item\b", line)]
            imports = text.replace("import Base, Item,", "import Base, Gadget, Item,")
            target.write_text(imports + renamed("\n".join(own)) + "\n")
        else:
            target.write_text(renamed(source.read_text()))
    for name, pattern in RESOURCE_LINES.items():
        path = package / Path(name).relative_to("app")
        lines = path.read_text().splitlines()
        path.write_text("\n".join(_doubled(line, pattern) for line in lines) + "\n")
    schema = package / "core/schema.py"
    head = int(re.search(r"HEAD: Final = (\d+)", schema.read_text())[1])  # type: ignore[index]  # it is there
    schema.write_text(schema.read_text().replace(f"HEAD: Final = {head}", f"HEAD: Final = {head + 1}"))
    migration = MIGRATION.format(head=head + 1, before=head).lstrip()
    (package / f"migrations/versions/{head + 1:04}_gadgets.py").write_text(migration)


def _doubled(line: str, pattern: str) -> str:
    """The line of items, and beside it that of gadgets: in a list of names on one line, the name is added."""
    if not re.search(pattern, line):
        return line
    if "import" in line and "," in line:
        return line.replace("import ", "import gadgets, ")
    if "__all__" in line:
        return line.replace('"Item"', '"Gadget", "Item"')
    return f"{line}\n{renamed(line)}"


def test_gadgets(worker_id: str, tmp_path: Path) -> None:
    shutil.copytree("app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    add_gadgets(tmp_path / "app")
    url = make_database(f"gadgets_{worker_id}")
    variables = environment(url, tmp_path) | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "app.cli", "migrate"]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('gadgets')").fetchone() == ("gadgets",)

    scopes = ("users:read", "gadgets:read", "gadgets:write", "keys:admin")
    with running_api(url, tmp_path, package=tmp_path, scopes=scopes) as api, api.client() as client:
        made = client.post("/api/v1/gadgets", json={"name": "Sprocket"}, headers={"Idempotency-Key": "one"})
        assert made.status_code == 201, made.text
        where = made.headers["location"]
        assert where == "/api/v1/gadgets/1"
        again = client.post("/api/v1/gadgets", json={"name": "Sprocket"}, headers={"Idempotency-Key": "one"})
        assert again.headers["idempotent-replayed"] == "true"
        assert client.get(where, headers={"If-None-Match": made.headers["etag"]}).status_code == 304
        assert client.patch(where, json={"name": "Cog"}, headers={"If-Match": '"1"'}).json()["name"] == "Cog"
        assert client.get("/api/v1/gadgets?name=C&sort=name").json()["items"][0]["id"] == 1
        assert client.post("/api/v1/gadgets", json={"name": "Cog", "owner_id": 9}).status_code == 422
        assert client.delete(where).status_code == 204
        assert client.get(where).status_code == 404
        assert "/api/v1/gadgets/{gadget_id}" in client.get("/openapi.json").json()["paths"]
        narrow = client.post("/api/v1/api-keys", json={"name": "x", "scopes": ["gadgets:read"]}).json()["key"]
        refused = client.post("/api/v1/gadgets", json={"name": "Cog"}, headers={"X-API-Key": narrow})
        assert refused.json()["detail"] == "The key lacks the scope gadgets:write."
