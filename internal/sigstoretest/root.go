package sigstoretest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"time"
)

// Trusted roots and signing configurations are written as plain JSON, field by
// field from https://github.com/sigstore/protobuf-specs, so that no library's
// reader is fed by the same library's writer.

// logName is the log's name in its checkpoints. The host of the log's baseUrl in a
// trusted root has to be the same.
const logName = "rekor.sigstore.test"

// logID is the id of a Rekor v2 log, which is that of its key in a signed note:
// https://github.com/C2SP/C2SP/blob/main/signed-note.md#signatures.
func logID(key ed25519.PublicKey) []byte {
	sum := sha256.New()
	sum.Write([]byte(logName + "\n\x01"))
	sum.Write(key)
	return sum.Sum(nil)
}

type (
	object = map[string]any
	list   = []any
)

func since(t time.Time) object { return object{"start": t.UTC().Format(time.RFC3339)} }

func publicKey(key any, details string, start time.Time) (object, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return object{"rawBytes": spki, "keyDetails": details, "validFor": since(start)}, nil
}

func authorityEntry(c *ca, uri string) object {
	certs := list{}
	for _, cert := range c.chain {
		certs = append(certs, object{"rawBytes": cert.Raw})
	}
	root := c.chain[len(c.chain)-1]
	return object{
		"subject":   object{"organization": root.Subject.Organization[0], "commonName": root.Subject.CommonName},
		"uri":       uri,
		"certChain": object{"certificates": certs},
		"validFor":  since(root.NotBefore),
	}
}

// trustedRoot is the trusted root of k's services. In GitHub's shape it has no
// logs: https://docs.github.com/actions/security-guides/using-artifact-attestations.
func (k *keys) trustedRoot(github bool) ([]byte, error) {
	start := k.fulcio.chain[len(k.fulcio.chain)-1].NotBefore
	// Fulcio's own entry begins with its intermediate; that of a timestamp authority
	// with the certificate that signs timestamps.
	root := object{
		"mediaType":              "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		"certificateAuthorities": list{authorityEntry(k.fulcio, "https://fulcio.sigstore.test")},
		"timestampAuthorities":   list{authorityEntry(k.tsa, "https://timestamp.sigstore.test/api/v1/timestamp")},
	}
	if !github {
		rekor, err := publicKey(k.rekor.Public(), "PKIX_ED25519", start)
		if err != nil {
			return nil, err
		}
		ctKey, err := publicKey(k.ct.key.Public(), "PKIX_ECDSA_P256_SHA_256", start)
		if err != nil {
			return nil, err
		}
		ctID := k.ct.id()
		root["tlogs"] = list{object{
			"baseUrl": "https://" + logName, "hashAlgorithm": "SHA2_256", "publicKey": rekor,
			"logId": object{"keyId": logID(k.rekor.Public().(ed25519.PublicKey))},
		}}
		root["ctlogs"] = list{object{
			"baseUrl": "https://ct.sigstore.test", "hashAlgorithm": "SHA2_256", "publicKey": ctKey,
			"logId": object{"keyId": ctID[:]},
		}}
	}
	return indent(root)
}

// signingConfig tells where the services are; an empty rekor leaves the log out.
func signingConfig(start time.Time, fulcio, rekor, tsa, issuer string) ([]byte, error) {
	service := func(url string, version int) list {
		return list{object{"url": url, "majorApiVersion": version, "validFor": since(start), "operator": "sigstore.test"}}
	}
	config := object{
		"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
		"caUrls":    service(fulcio, 1),
		"oidcUrls":  service(issuer, 1),
		"tsaUrls":   service(tsa, 1),
		"tsaConfig": object{"selector": "ANY"},
	}
	if rekor != "" {
		config["rekorTlogUrls"] = service(rekor, 2)
		config["rekorTlogConfig"] = object{"selector": "ANY"}
	}
	return indent(config)
}

func indent(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return out.Bytes(), err
}
