// Modules that tests take published JSON schemas from; no code of them is built.
module github.com/volant/fledge-action/tools/schemas

go 1.26.0

require (
	github.com/CycloneDX/cyclonedx-go v0.9.2 // CycloneDX 1.6 and its licence list
	github.com/anchore/syft v1.57.1 // SPDX 2.3
)
