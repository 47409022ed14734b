// Parses an AsyncAPI document with @asyncapi/parser and prints its findings.
// Usage: node asyncapi-check.mjs FILE-OR-URL        exit 1: an error or a warning
import { parsed } from "./parsed.mjs";

const { document, complaints } = await parsed(process.argv[2]);
for (const { severity, code, path, message } of complaints) {
  console.log(`${severity} ${code} at /${path.join("/")}: ${message}`);
}
if (!document || complaints.length) process.exit(1);
console.log(`${document.info().title()} ${document.info().version()}: ${document.messages().length} messages, valid`);
