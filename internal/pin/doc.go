// Command pin makes the files of a release's commit from those of main. The workflow
// release.yml runs it by commit.sh, in this order:
//
//	pin image ghcr.io/volant/fledge-action@sha256:DIGEST
//	pin uses VERSION COMMIT
//	pin notes VERSION
//
// "image" lets action.yml and verify/action.yml name the image by its digest, where main
// has them built from the Dockerfile. "uses" lets the reusable workflow name the action
// by the commit that "image" has made, where main says v1. Who names our commit then
// names every byte that will run. It takes two commits, since none can name itself.
// "notes" prints the version's part of CHANGELOG.md.
//
// Files are changed by the line, so that nothing else of them changes. All of them are
// read and judged before the first is written. What is changed already stays, so running
// it twice does no harm; anything unexpected is refused.
package main
