// Checks with json-schema-diff whether data of two JSON Schemas (draft 07) can be read with either schema.
// Input: [{"old": schema, "new": schema}, ...] on stdin. Output: for each pair, a list of problems.
//
// Writers write only the properties in their schema; readers ignore unknown ones. So the data of one schema,
// closed to additional properties, must be accepted by the other one, left open, in both directions.
import { text } from "node:stream/consumers";
import jsonSchemaDiff from "json-schema-diff";

// Keywords that json-schema-diff ignores (its KEYWORDS.md) must be the same where both schemas have the field.
const UNSEEN = [
  "enum", "const", "multipleOf", "format", "pattern", "contentEncoding", "contentMediaType", "additionalItems",
  "uniqueItems", "contains", "patternProperties", "dependencies", "propertyNames", "if", "then", "else",
];

function closed(schema) {
  if (Array.isArray(schema)) return schema.map(closed);
  if (schema === null || typeof schema !== "object") return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  // a field below "properties" may itself be named "properties"; it is not an object schema then
  const describesObject = schema.type === "object" && typeof schema.properties === "object";
  return describesObject && !("additionalProperties" in schema) ? { ...inner, additionalProperties: false } : inner;
}

function unseen(schema, root = schema, path = "", found = new Map()) {
  if (schema === null || typeof schema !== "object") return found;
  if (schema.$ref) return unseen(root.definitions[schema.$ref.replace("#/definitions/", "")], root, path, found);
  const kept = UNSEEN.filter((key) => key in schema).map((key) => [key, schema[key]]);
  found.set(path, JSON.stringify(Object.fromEntries(kept)));
  for (const [name, field] of Object.entries(schema.properties ?? {})) unseen(field, root, `${path}/${name}`, found);
  if (schema.items) unseen(schema.items, root, `${path}[]`, found);
  for (const key of ["allOf", "anyOf", "oneOf"]) {
    (schema[key] ?? []).forEach((branch, place) => unseen(branch, root, `${path}<${key} ${place}>`, found));
  }
  return found;
}

async function refused(written, read) {
  const result = await jsonSchemaDiff.diffSchemas({ sourceSchema: closed(written), destinationSchema: read });
  return result.removalsFound ? [JSON.stringify(result.removedJsonSchema)] : [];
}

async function complaints({ old, new: fresh }) {
  const before = unseen(old);
  const changed = [...unseen(fresh)].filter(([path, kept]) => before.has(path) && before.get(path) !== kept);
  return [
    ...(await refused(old, fresh)).map((data) => `the new reader refuses old data: ${data}`),
    ...(await refused(fresh, old)).map((data) => `the old reader refuses new data: ${data}`),
    ...changed.map(([path, kept]) => `at ${path || "/"} it was ${before.get(path)}, now it is ${kept}`),
  ];
}

const pairs = JSON.parse(await text(process.stdin));
console.log(JSON.stringify(await Promise.all(pairs.map(complaints))));
