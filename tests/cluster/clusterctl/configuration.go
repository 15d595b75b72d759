package main

import (
	"embed"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"text/template"
)

// The components' configuration files, and the objects of a new cluster. A file's own comments say why a line is there.
//
//go:embed templates
var templateFiles embed.FS

// slowNames is set to 1 for names that are kept as long as most clusters keep them.
const slowNames = "OUTRIGGER_CLUSTER_SLOW_DNS"

// write fills a template in and writes it to a file.
func (c cluster) write(name string, values any, path string) error {
	parsed, err := template.ParseFS(templateFiles, "templates/"+name)
	if err != nil {
		return fmt.Errorf("the template %s: %w", name, err)
	}
	var text strings.Builder
	if err := parsed.Option("missingkey=error").Execute(&text, values); err != nil {
		return fmt.Errorf("the template %s: %w", name, err)
	}
	if err := writeFile(path, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// writeKubeconfig writes a client's kubeconfig with its certificate inside, so that the file works wherever it is copied.
func (c cluster) writeKubeconfig(name string) error {
	values := map[string]string{"Server": apiServerURL, "User": name}
	for field, file := range map[string]string{"Authority": c.certificate("ca"), "Certificate": c.certificate(name), "Key": c.key(name)} {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("cannot read %s for a kubeconfig: %w", file, err)
		}
		values[field] = base64.StdEncoding.EncodeToString(text)
	}
	return c.write("kubeconfig.yaml", values, c.kubeconfig(name))
}

// writeControlConfiguration writes the files of the control plane's components.
func (c cluster) writeControlConfiguration() error {
	dns := map[string]any{"Address": controlAddress, "Domain": clusterDomain, "Kubeconfig": c.kubeconfig("coredns"), "Slow": os.Getenv(slowNames) == "1"}
	if err := c.write("Corefile", dns, c.path("coredns", "Corefile")); err != nil {
		return err
	}
	if err := c.write("audit-policy.yaml", nil, c.path("apiserver", "audit-policy.yaml")); err != nil {
		return err
	}
	return c.write("objects.yaml", nil, c.path("objects.yaml"))
}

// writeNodeConfiguration writes the files of a node's components.
func (c cluster) writeNodeConfiguration(n node) error {
	values := map[string]string{
		"Name": n.name, "Pods": n.pods, "Gateway": n.gateway, "AllPods": podNetwork,
		"Folder": c.path(n.name), "Cgroup": "/" + c.id + "/" + n.name,
		"State": n.containerdState(), "Socket": n.containerdSocket(), "Cni": c.path(n.name, "cni"),
		"Authority": c.certificate("ca"), "Certificate": c.certificate("kubelet." + n.name), "Key": c.key("kubelet." + n.name),
		"DNS": controlAddress, "Domain": clusterDomain, "ProxyKubeconfig": c.kubeconfig("kube-proxy"),
		"PauseImage": pauseImage, "PodLogs": c.path(logsDir, "pods."+n.name),
	}
	for template, file := range map[string]string{
		"containerd.toml": c.path(n.name, "containerd.toml"),
		"cni.json":        c.path(n.name, "cni", "10-bridge.conflist"),
		"kubelet.yaml":    c.path(n.name, "kubelet.yaml"),
		"kube-proxy.yaml": c.path(n.name, "kube-proxy.yaml"),
	} {
		if err := c.write(template, values, file); err != nil {
			return err
		}
	}
	return nil
}

// A containerd's socket and state stand in the folder /run that only the cluster's processes see: they end with them.
func (n node) containerdState() string  { return "/run/containerd-" + n.name }
func (n node) containerdSocket() string { return n.containerdState() + "/containerd.sock" }
