// Says what breaks for a reader of an AsyncAPI document when a newer one takes its place, by @asyncapi/diff.
// Usage: node asyncapi-diff.mjs OLD NEW...        prints for each NEW a list of what breaks, as JSON
import { diff } from "@asyncapi/diff";
import { parsed } from "./parsed.mjs";

// A document that says more or less has another version; only a first number that grows announces a break.
const overrides = { "/info/version": { add: "non-breaking", remove: "breaking", edit: "non-breaking" } };

// @asyncapi/diff leaves open what changes inside of headers, payloads and bindings. Taken for harmless there:
const HARMLESS = {
  "other words": ({ path }) => /\/(description|title|summary)$|\/(examples|tags)(\/|$)/.test(path),
  "a field added, which readers ignore": ({ action, path }) =>
    action === "add" && /\/(headers|payload)\/.*\/?properties\/[^/]+$/.test(path),
  "the data of an event, which schemas-compatible.mjs decides on": ({ path }) =>
    /\/payload\/schema\/allOf\/\d+\/properties\/data(\/|$)/.test(path),
  "who is granted access, told otherwise": ({ path }) => /\/x-access(\/|$)/.test(path),
};

// Resolved, without what the parser adds.
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
