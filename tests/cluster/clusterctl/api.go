package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// transport makes requests from within a holder's network. Without credentials of ours a server is not asked for its
// own either: the controllers' health endpoints show a certificate that they made for themselves.
func (c cluster) transport(holder string, config *tls.Config) *http.Transport {
	if config == nil {
		config = &tls.Config{InsecureSkipVerify: true}
	}
	return &http.Transport{TLSClientConfig: config, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return c.dial(ctx, holder, address)
	}}
}

// apiClient speaks to the API server as the cluster's administrator.
func (c cluster) apiClient() (*http.Client, error) {
	mine, err := tls.LoadX509KeyPair(c.certificate("admin"), c.key("admin"))
	if err != nil {
		return nil, fmt.Errorf("cannot read the administrator's certificate: %w", err)
	}
	authority, err := os.ReadFile(c.certificate("ca"))
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificate authority: %w", err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	config := &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{mine}}
	return &http.Client{Transport: c.transport(control, config), Timeout: 5 * time.Second}, nil
}

// ask reads one object of the API.
func ask(client *http.Client, path string, into any) error {
	response, err := client.Get(apiServerURL + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the API server answers %s for %s", response.Status, path)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// nodeList is as much of the API's list of nodes as is looked at here.
type nodeList struct {
	Items []struct {
		Metadata struct{ Name string }
		Status   struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
}

// notReady names the nodes that are not, each with its own reason.
func (l nodeList) notReady() []string {
	ready := map[string]bool{}
	var reasons []string
	for _, item := range l.Items {
		for _, condition := range item.Status.Conditions {
			if condition.Type != "Ready" {
				continue
			}
			ready[item.Metadata.Name] = condition.Status == "True"
			if condition.Status != "True" {
				reasons = append(reasons, item.Metadata.Name+": "+condition.Message)
			}
		}
	}
	for _, n := range nodes() {
		if _, known := ready[n.name]; !known {
			reasons = append(reasons, n.name+": not registered")
		}
	}
	return reasons
}

// kubectl runs the real kubectl as the administrator, and returns what it printed.
func (c cluster) kubectl(args ...string) (string, error) {
	into, err := c.nsenter(control, false)
	if err != nil {
		return "", err
	}
	command := exec.Command(into[0], append(append(into[1:], c.built("kubernetes", "kubectl"), "--kubeconfig", c.kubeconfig("admin")), args...)...)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return string(output), nil
}
