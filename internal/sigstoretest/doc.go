// Package sigstoretest starts a real Sigstore on loopback for tests: Fulcio, a Rekor
// v2 transparency log and a timestamp authority, each the program that its authors
// publish, and beside them, in the test's own process, an issuer of OpenID tokens
// with the claims of GitHub Actions and a certificate transparency log's signer.
//
// [Start] takes less than two seconds. Everything lies below t.TempDir; every port
// is a free one of 127.0.0.1; the programs end with the test, and with the test's
// process when that is killed. "make e2e-sigstore-tools" builds the programs;
// without them the test is skipped aloud (see internal/testneed).
//
// # Two shapes
//
// The default is the shape of the public-good instance with Rekor v2: certificates
// with an SCT, a log entry and a timestamp. [Options.GitHub] gives the shape of
// GitHub's own instance: no certificate transparency, no log, only a timestamp.
//
// # The issuer's name
//
// Tokens come from "https://token.actions.githubusercontent.com", the name that
// verifiers insist on, without a packet leaving the machine: [Stack.Env] has an
// HTTPS proxy and a certificate authority for it, which Fulcio, fledge, cosign and
// every other Go program honour. The proxy knows the hosts that the test gave it
// ([Stack.Handle]); it refuses any other and keeps its name ([Stack.Strays]), so a
// test can also say that nothing else was asked for.
//
// # Faults
//
// A [Proxy] stands before each service. It can refuse, answer with a status or a
// page of HTML, be slow, hang, or cut an answer in the middle, for a number of
// requests or until it is told otherwise. [Service.Kill] and [Service.Restart] end
// a program and bring it back with the same state.
package sigstoretest
