// Reads an AsyncAPI document from a file or URL; relative $refs are resolved from its location.
import { fromFile, fromURL, Parser } from "@asyncapi/parser";

const SEVERITIES = ["error", "warning", "info", "hint"];

export async function parsed(source) {
  const parser = new Parser();
  const from = /^https?:/.test(source) ? fromURL(parser, source) : fromFile(parser, source);
  const { document, diagnostics } = await from.parse();
  const complaints = diagnostics
    .filter(({ severity }) => severity <= 1)
    .map((found) => ({ ...found, severity: SEVERITIES[found.severity] }));
  return { document, complaints, diagnostics };
}
