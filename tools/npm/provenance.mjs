// Writes the in-toto statement that GitHub's own action makes for the subjects on
// standard input, of a token from the endpoint that the environment names.
// Standard output is the runner's: the action writes commands there.
// Usage: node provenance.mjs ISSUER OUTPUT <subjects.json
import { readFileSync, writeFileSync } from 'node:fs'
import { buildSLSAProvenancePredicate } from '@actions/attest'

const [issuer, output] = process.argv.slice(2)
const subject = JSON.parse(readFileSync(0, 'utf8'))
const { type, params } = await buildSLSAProvenancePredicate(issuer)
const statement = { _type: 'https://in-toto.io/Statement/v1', subject, predicateType: type, predicate: params }
writeFileSync(output, JSON.stringify(statement))
