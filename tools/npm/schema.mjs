// Checks workflows and action.yml files as GitHub's editor does, with the schemas of
// GitHub's own parser, and prints each fault as PATH:LINE:COLUMN: TEXT.
// A file is one of the two by its path, which is relative to ROOT.
// Usage: node schema.mjs ROOT PATH...
import { readFileSync } from 'node:fs'
import { register } from 'node:module'
import { join } from 'node:path'
import { TextDocument } from 'vscode-languageserver-textdocument'

// The library imports JSON without saying so, as bundlers allow.
const hook = `export const load = (url, context, next) =>
  next(url, url.endsWith('.json') ? { ...context, importAttributes: { type: 'json' } } : context)`
register('data:text/javascript,' + encodeURIComponent(hook))
const { validate } = await import('@actions/languageservice')

const [root, ...paths] = process.argv.slice(2)
for (const path of paths) {
  const text = readFileSync(join(root, path), 'utf8')
  const faults = await validate(TextDocument.create(`file:///${path}`, 'yaml', 1, text))
  for (const { range, message } of faults) {
    console.log(`${path}:${range.start.line + 1}:${range.start.character + 1}: ${message}`)
  }
}
