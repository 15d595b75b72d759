package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// identity is one certificate that the cluster's own authority signs.
type identity struct {
	file         string // its name in the folder of certificates
	user         string // the common name: who the API server takes a client for
	groups       []string
	addresses    []string // a server's addresses; a client has none
	names        []string // a server's names
	kubeconfigOf bool     // a client of the API server that reads a kubeconfig
}

func (c cluster) certificate(name string) string { return c.path("pki", name+".crt") }
func (c cluster) key(name string) string         { return c.path("pki", name+".key") }
func (c cluster) kubeconfig(name string) string  { return c.path("kubeconfig", name) }

// identities are all certificates of the cluster. The names of users are those that Kubernetes' own roles are bound to.
func identities() []identity {
	all := []identity{
		{file: "apiserver", user: "kube-apiserver", addresses: []string{controlAddress, apiServiceIP, "127.0.0.1"},
			names: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + clusterDomain}},
		{file: "apiserver-kubelet-client", user: "kube-apiserver", groups: []string{"system:masters"}},
		{file: "admin", user: "admin", groups: []string{"system:masters"}, kubeconfigOf: true},
		{file: "kube-controller-manager", user: "system:kube-controller-manager", kubeconfigOf: true},
		{file: "kube-scheduler", user: "system:kube-scheduler", kubeconfigOf: true},
		{file: "kube-proxy", user: "system:kube-proxy", kubeconfigOf: true},
		{file: "coredns", user: "outrigger-test:coredns", kubeconfigOf: true},
		{file: "provisioner", user: "outrigger-test:provisioner", kubeconfigOf: true},
	}
	for _, n := range nodes() {
		all = append(all, identity{file: "kubelet." + n.name, user: "system:node:" + n.name, groups: []string{"system:nodes"},
			addresses: []string{n.address, "127.0.0.1"}, names: []string{n.name}, kubeconfigOf: true})
	}
	return all
}

// makeCertificates makes the authority and every identity that is missing. They are good for as long as any cluster of
// the tests lives, and go with it.
func (c cluster) makeCertificates() error {
	for _, name := range []string{"ca", frontProxyAuthority} {
		if _, err := os.Stat(c.certificate(name)); err == nil {
			continue
		}
		if err := c.makeAuthority(name); err != nil {
			return fmt.Errorf("cannot make the certificate authority %s: %w", name, err)
		}
	}
	if err := c.makeTokenKey(); err != nil {
		return fmt.Errorf("cannot make the key of service account tokens: %w", err)
	}
	authority, err := tls.LoadX509KeyPair(c.certificate("ca"), c.key("ca"))
	if err != nil {
		return fmt.Errorf("cannot read the certificate authority: %w", err)
	}
	for _, who := range identities() {
		if _, err := os.Stat(c.certificate(who.file)); err != nil {
			if err := c.sign(who, authority); err != nil {
				return fmt.Errorf("cannot make the certificate %s: %w", who.file, err)
			}
		}
		if who.kubeconfigOf {
			if err := c.writeKubeconfig(who.file); err != nil {
				return err
			}
		}
	}
	return nil
}

// frontProxyAuthority vouches for servers that pass a user's name on to the API server. Nobody here does, so it signs
// nothing; without it every component that reads the API server's settings would complain for ever.
const frontProxyAuthority = "front-proxy-ca"

func (c cluster) makeAuthority(name string) error {
	template, err := newCertificate(pkix.Name{CommonName: "outrigger-test-" + name})
	if err != nil {
		return err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return c.issue(name, template, template, key, key)
}

// makeTokenKey makes the key that service account tokens are signed with: one that shares nothing with certificates.
func (c cluster) makeTokenKey() error {
	if _, err := os.Stat(c.key("service-accounts")); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return c.writeKey("service-accounts", key)
}

func (c cluster) sign(who identity, authority tls.Certificate) error {
	template, err := newCertificate(pkix.Name{CommonName: who.user, Organization: who.groups})
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(who.addresses) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	template.DNSNames = who.names
	for _, address := range who.addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	signer, ok := authority.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("the key %s is not an elliptic one: run `make cluster-down`, then `make cluster-up`", c.key("ca"))
	}
	return c.issue(who.file, template, authority.Leaf, key, signer)
}

func newCertificate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}, nil
}

// issue writes a certificate and its key, the certificate last: its presence tells that both are there.
func (c cluster) issue(name string, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return err
	}
	if err := c.writeKey(name, key); err != nil {
		return err
	}
	return writeFile(c.certificate(name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

func (c cluster) writeKey(name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(c.key(name), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}
