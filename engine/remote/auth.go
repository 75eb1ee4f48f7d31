package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/granary-go/granary/core"
)

// The roles that a certificate may name.
const (
	RoleMember = "member" // may send everything, system messages included
	RoleClient = "client" // may send what Config.Authorize allows
)

// RoleURI is the URI SAN by which a certificate names its cluster and its role:
// "cluster/NAME/member/ROLE". With a member ID it ends in "/ID", and the certificate then serves that
// member alone.
func RoleURI(cluster, role string, member core.MemberID) *url.URL {
	path := "cluster/" + cluster + "/member/" + role
	if member != "" {
		path += "/" + string(member)
	}
	return &url.URL{Path: path}
}

// Peer is who is at the other end of a connection, as the handshake proved it. It is read only.
type Peer struct {
	Member core.Member // the row of the view; of a client only ID and Protocol are set
	Client bool
	Epoch  uint64 // of the connection: the peer's count of its own connections
}

// identity is what the transport proved of a peer before the handshake.
type identity struct {
	tls     bool          // there was TLS
	proven  bool          // there was a certificate; the fields below are its own
	client  bool          // its role
	member  core.MemberID // it serves this one alone; empty: any
	address string        // of the socket, for logs
}

// errRole says that a certificate does not fit this cluster.
var errRole = errors.New("the certificate names no role in this cluster")

// certificateIdentity reads the role that a verified certificate gives its holder in the cluster. Of
// several roles the member's counts.
func certificateIdentity(cert *x509.Certificate, cluster string) (identity, error) {
	id, found := identity{tls: true, proven: true, client: true}, false
	for _, u := range cert.URIs {
		parts := strings.SplitN(strings.TrimPrefix(u.Path, "/"), "/", 5)
		if len(parts) < 4 || parts[0] != "cluster" || parts[1] != cluster || parts[2] != "member" {
			continue
		}
		var member core.MemberID
		if len(parts) == 5 {
			member = core.MemberID(parts[4])
		}
		switch parts[3] {
		case RoleMember:
			id.client, id.member, found = false, member, true
			return id, memberUsage(cert)
		case RoleClient:
			id.member, found = member, true
		}
	}
	if !found {
		return identity{}, fmt.Errorf("%w: want a URI SAN %q or %q", errRole,
			RoleURI(cluster, RoleMember, ""), RoleURI(cluster, RoleClient, ""))
	}
	return id, nil
}

// memberUsage demands that a member's certificate may serve: a member both dials and listens.
func memberUsage(cert *x509.Certificate) error {
	if len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0 {
		return nil
	}
	server, client := false, false
	for _, u := range cert.ExtKeyUsage {
		server = server || u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny
		client = client || u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny
	}
	if !server || !client {
		return fmt.Errorf("%w: a member's needs the extended key usages server and client authentication", errRole)
	}
	return nil
}

// claim checks what the handshake says against what the certificate proved.
func (id identity) claim(member core.MemberID, client bool) *refusal {
	switch {
	case !id.proven:
		return nil
	case id.client && !client:
		return refuse(RefusedIdentity, "the certificate is a client's, the connection claims to be a member's")
	case id.member != "" && id.member != member:
		return refuse(RefusedIdentity, "the certificate is that of %q, the connection claims to be %q", id.member, member)
	}
	return nil
}

// membersOnly is the default of Config.Authorize.
func membersOnly(from Peer, target, typ string) error {
	if from.Client {
		return fmt.Errorf("a client may not send %s to %q: %w", typ, target, ErrDenied)
	}
	return nil
}
