// Writes with GitHub's own library what standard input lists: a mask, annotations and
// values of the output "name".
// Usage: GITHUB_OUTPUT=FILE node core.mjs <list.json
import { readFileSync } from 'node:fs'
import * as core from '@actions/core'

const { mask, annotations, values } = JSON.parse(readFileSync(0, 'utf8'))
core.setSecret(mask)
for (const { File, Line, Column, Title, Message } of annotations) {
  core.error(Message, {
    file: File || undefined,
    startLine: Line || undefined,
    startColumn: Column || undefined,
    title: Title || undefined,
  })
}
for (const value of values) core.setOutput('name', value)
