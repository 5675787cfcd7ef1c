package action

import (
	"encoding/pem"
	"net/http/httptest"
)

// pemOf is the certificate of a server, which is its own CA.
func pemOf(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}
