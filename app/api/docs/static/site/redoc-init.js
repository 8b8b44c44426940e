// Starts Redoc. A file of its own, because the page's Content-Security-Policy allows no inline script.
"use strict";

const root = document.getElementById("redoc");
const text = "system-ui, sans-serif";
const code = "ui-monospace, Menlo, Consolas, monospace";
Redoc.init(
  root.dataset.openapi,
  {
    expandResponses: "200,201",
    sanitize: true,
    // Redoc's own choice of fonts comes from the internet.
    theme: { typography: { fontFamily: text, headings: { fontFamily: text }, code: { fontFamily: code } } },
  },
  root,
);
