// Reports what breaks for a reader of an AsyncAPI document when a newer one replaces it, using @asyncapi/diff.
// Usage: node asyncapi-diff.mjs OLD NEW...        prints a list of breaking changes for each NEW, as JSON
import { diff } from "@asyncapi/diff";
import { parsed } from "./parsed.mjs";

// Any change to the document changes its version; only a new major version announces a break.
const overrides = { "/info/version": { add: "non-breaking", remove: "breaking", edit: "non-breaking" } };

// @asyncapi/diff does not classify changes inside headers, payloads and bindings. Considered harmless there:
const HARMLESS = {
  "other words": ({ path }) => /\/(description|title|summary)$|\/(examples|tags)(\/|$)/.test(path),
  "a field added, which readers ignore": ({ action, path }) =>
    action === "add" && /\/(headers|payload)\/.*\/?properties\/[^/]+$/.test(path),
  "the data of an event, which schemas-compatible.mjs decides on": ({ path }) =>
    /\/payload\/schema\/allOf\/\d+\/properties\/data(\/|$)/.test(path),
  "who is granted access, told otherwise": ({ path }) => /\/x-access(\/|$)/.test(path),
};

// The resolved document, without what the parser adds.
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([key]) => !key.startsWith("x-parser-"));
  return Object.fromEntries(kept.map(([key, inner]) => [key, plain(inner)]));
}

async function read(source) {
  const { document, complaints } = await parsed(source);
  if (!document) throw new Error(`${source}: ${JSON.stringify(complaints, null, 2)}`);
  return plain(document.json());
}

function breaks(old, fresh) {
  const internal = Object.keys(old.channels).filter((name) => old.channels[name]["x-internal"]);
  const ours = ({ path }) => internal.includes(path.match(/^\/(?:channels|operations)\/([^/]+)/)?.[1]);
  // operations and components repeat what the channels say
  const open = (change) =>
    change.path.startsWith("/channels/") && !Object.values(HARMLESS).some((harmless) => harmless(change));
  return diff(old, fresh, { override: overrides })
    .getOutput()
    .changes.filter((change) => change.type === "breaking" || (change.type === "unclassified" && open(change)))
    .filter((change) => !ours(change))
    .map(({ action, path }) => `${action} ${path}`);
}

const [old, ...newer] = await Promise.all(process.argv.slice(2).map(read));
console.log(JSON.stringify(newer.map((fresh) => breaks(old, fresh))));
