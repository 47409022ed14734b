// Renders the AsyncAPI document as one plain HTML page with every schema expanded: no scripts, no requests.
// Usage: node asyncapi-page.mjs DOCUMENT PAGE
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { JSDOM } from "jsdom";
import { parsed } from "./parsed.mjs";

const require = createRequire(import.meta.url);
const [source, target] = process.argv.slice(2);
const { document: described, complaints } = await parsed(source);
if (!described) throw new Error(JSON.stringify(complaints, null, 2));

// React and the component look for a browser when they are loaded.
const { window } = new JSDOM('<div id="page"></div>', { url: "http://localhost/" });
Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
Object.defineProperty(globalThis, "navigator", { value: window.navigator, configurable: true });
for (const name of ["HTMLElement", "Element", "Node"]) globalThis[name] = window[name];
class Blind {
  observe() {}
  unobserve() {}
  disconnect() {}
}
for (const name of ["IntersectionObserver", "ResizeObserver"]) window[name] = globalThis[name] = Blind;
window.scrollTo = () => {};

const { act, createElement } = require("react");
const { createRoot } = require("react-dom/client");
const { default: AsyncApi } = require("@asyncapi/react-component/lib/cjs/without-parser");
const page = window.document.getElementById("page");
// Each channel shows its messages: a separate list would show each message twice.
const config = { show: { sidebar: true, errors: false, messages: false }, expand: { messageExamples: true } };
await act(() => createRoot(page).render(createElement(AsyncApi, { schema: described, config })));

// The buttons do nothing without scripts: click those that expand, then remove all of them.
const folded = () => [...page.querySelectorAll("button")].filter((button) => button.textContent === "Expand all");
for (let left = folded(); left.length; left = folded()) await act(() => left.forEach((button) => button.click()));
for (const button of page.querySelectorAll("button")) {
  if (/^(Expand|Collapse) all$/.test(button.textContent) || !button.textContent.trim()) {
    button.remove();
    continue;
  }
  const plain = window.document.createElement("span");
  plain.className = button.className;
  plain.append(...button.childNodes);
  button.replaceWith(plain);
}

for (const shut of page.querySelectorAll(".hidden:not(.sidebar)")) shut.classList.remove("hidden");
page.querySelector(".burger-menu").remove();
// Use the layout that depends only on the window's width, since no script measures the container.
page.querySelector(".aui-root > div").classList.replace("container:xl", "container:base");

const styles = await readFile(require.resolve("@asyncapi/react-component/styles/default.min.css"), "utf8");
const title = described.info().title();
await writeFile(
  target,
  `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${title}</title><style>${styles.trim()}</style></head>
<body>${page.innerHTML}</body></html>
`,
);
process.exit(0); // the component's timers would keep the process alive
