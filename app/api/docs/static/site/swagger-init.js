// Starts Swagger UI. A file of its own, because the page's Content-Security-Policy allows no inline script.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
follow();
dark.addEventListener("change", follow);

// Swagger UI fills a form with the examples of its parameters. For one that may be left out that is a value nobody asked for:
// an If-Match that fails, or the same Idempotency-Key for every request. So these lose their examples here (Redoc shows them).
const withoutExamples = (parameter) => {
  if (parameter.in && !parameter.required) {
    for (const holder of [parameter, parameter.schema ?? {}]) {
      delete holder.example;
      delete holder.examples;
    }
  }
};
const OptionalStaysEmpty = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (update) => (document) => {
          Object.values(document.components?.parameters ?? {}).forEach(withoutExamples);
          for (const path of Object.values(document.paths ?? {})) {
            for (const operation of Object.values(path)) {
              (operation.parameters ?? []).forEach(withoutExamples);
            }
          }
          return update(document);
        },
      },
    },
  },
});

const root = document.getElementById("swagger-ui");
window.ui = SwaggerUIBundle({
  domNode: root,
  url: root.dataset.openapi,
  plugins: [OptionalStaysEmpty],
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  filter: true,
  defaultModelsExpandDepth: 0,
  // A key stays in this page's memory and is gone with it: localStorage would keep it readable for any later script of this origin.
  persistAuthorization: false,
  // No document is sent to a validator on the internet.
  validatorUrl: null,
});
