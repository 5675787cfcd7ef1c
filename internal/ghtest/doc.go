// Package ghtest is a GitHub API for tests: releases of one repository and their
// assets, on loopback, with faults on request.
//
// [New] starts two servers. The first speaks the REST API
// (https://docs.github.com/rest/releases): a release by tag, the latest one, the
// list, an asset by id, and the attestations of a digest. Like GitHub's, it answers a request for an asset's
// bytes with a redirect to the second server, which is another host and refuses
// any request that carries a token; so a client that leaks one fails its test.
//
// What it does not have: writing, GraphQL, conditional requests.
//
// Every request is kept ([Server.Requests]). Faults are taken in the order they
// were added, each as often as it says, so that a test scripts exactly what a
// client meets.
package ghtest
