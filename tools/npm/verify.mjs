// Verifies a Sigstore bundle of a DSSE envelope with Sigstore's verifier for
// JavaScript, and prints the payload. What is asked for follows from the trusted
// root: an SCT and a log entry if it has such logs, a timestamp always.
// Usage: node verify.mjs TRUSTED_ROOT BUNDLE ISSUER SAN
import { readFileSync } from 'node:fs'
import { bundleFromJSON } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { Verifier, toSignedEntity, toTrustMaterial } from '@sigstore/verify'

const [rootFile, bundleFile, issuer, san] = process.argv.slice(2)
const read = file => JSON.parse(readFileSync(file, 'utf8'))
const root = TrustedRoot.fromJSON(read(rootFile))
const bundle = bundleFromJSON(read(bundleFile))
const verifier = new Verifier(toTrustMaterial(root), {
  ctlogThreshold: root.ctlogs.length > 0 ? 1 : 0,
  tlogThreshold: root.tlogs.length > 0 ? 1 : 0,
  timestampThreshold: 1,
})
const quoted = san.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
verifier.verify(toSignedEntity(bundle), {
  subjectAlternativeName: `^${quoted}$`,
  extensions: { issuer },
})
process.stdout.write(bundle.content.dsseEnvelope.payload)
