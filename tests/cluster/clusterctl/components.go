package main

import (
	"net/http"
	"time"
)

// component is a process of the cluster and how it is asked whether it is well.
type component struct {
	process
	health string // a URL within its network that answers 200; "" if being alive is all that can be asked
}

// dataStore is the store that the API server stands on. Its data are worth nothing once the cluster is down, so it does
// not wait for the disk.
func (c cluster) dataStore() component {
	return component{health: etcdURL + "/health", process: process{name: "etcd", within: control, args: []string{
		c.built("etcd", "etcd"), "--data-dir", c.path("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL,
		"--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
		"--initial-cluster", "default=http://127.0.0.1:2380",
	}}}
}

func (c cluster) apiServer() component {
	policy := c.path("apiserver", "audit-policy.yaml")
	return component{health: apiServerURL + "/readyz", process: process{name: "kube-apiserver", within: control, files: []string{policy}, args: []string{
		c.built("kubernetes", "kube-apiserver"),
		"--etcd-servers=" + etcdURL,
		"--advertise-address=" + controlAddress,
		"--service-cluster-ip-range=" + serviceNetwork,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--client-ca-file=" + c.certificate("ca"),
		"--requestheader-client-ca-file=" + c.certificate(frontProxyAuthority),
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--tls-cert-file=" + c.certificate("apiserver"),
		"--tls-private-key-file=" + c.key("apiserver"),
		"--kubelet-certificate-authority=" + c.certificate("ca"),
		"--kubelet-client-certificate=" + c.certificate("apiserver-kubelet-client"),
		"--kubelet-client-key=" + c.key("apiserver-kubelet-client"),
		// The nodes' names are in no DNS.
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc." + clusterDomain,
		"--service-account-key-file=" + c.key("service-accounts"),
		"--service-account-signing-key-file=" + c.key("service-accounts"),
		"--audit-policy-file=" + policy,
		"--audit-log-path=" + c.path(logsDir, "audit.log"),
		"--audit-log-maxsize=200",
		"--audit-log-maxbackup=2",
	}}}
}

// controllers are the control plane's other parts. They need the API server, and no other.
func (c cluster) controllers() []component {
	config := func(name string) []string {
		file := c.kubeconfig(name)
		return []string{"--kubeconfig=" + file, "--authentication-kubeconfig=" + file, "--authorization-kubeconfig=" + file, "--leader-elect=false"}
	}
	corefile := c.path("coredns", "Corefile")
	return []component{
		{health: "https://127.0.0.1:10257/healthz", process: process{name: "kube-controller-manager", within: control, args: append(
			[]string{c.built("kubernetes", "kube-controller-manager"),
				"--root-ca-file=" + c.certificate("ca"),
				"--service-account-private-key-file=" + c.key("service-accounts"),
				"--use-service-account-credentials=true",
				"--cluster-signing-cert-file=" + c.certificate("ca"),
				"--cluster-signing-key-file=" + c.key("ca"),
				// A lost node shows after four missed reports (the kubelets' configuration), not after 50 s.
				"--node-monitor-grace-period=16s",
				"--node-monitor-period=2s",
				// Its own brake of 20 requests a second is what a new cluster waits longest for.
				"--kube-api-qps=200", "--kube-api-burst=400"},
			config("kube-controller-manager")...)}},
		{health: "https://127.0.0.1:10259/healthz", process: process{name: "kube-scheduler", within: control, args: append(
			[]string{c.built("kubernetes", "kube-scheduler")}, config("kube-scheduler")...)}},
		{health: "http://" + controlAddress + ":8181/ready", process: process{name: "coredns", within: control, files: []string{corefile},
			args: []string{c.built("coredns", "coredns"), "-conf", corefile}}},
		{process: process{name: "provisioner", within: control, args: []string{
			c.built("provisioner", "provisioner"), "-kubeconfig", c.kubeconfig("provisioner"), "-volumes", c.path("%s", "volumes")}}},
	}
}

func (c cluster) runtime(n node) component {
	config := c.path(n.name, "containerd.toml")
	return component{process: process{name: "containerd." + n.name, within: n.name, files: []string{config}, args: []string{
		c.built("containerd", "containerd"), "--config", config}}}
}

// agents are a node's parts that need the API server.
func (c cluster) agents(n node) []component {
	kubelet, proxy := c.path(n.name, "kubelet.yaml"), c.path(n.name, "kube-proxy.yaml")
	return []component{
		{health: "http://127.0.0.1:10248/healthz", process: process{name: "kubelet." + n.name, within: n.name, files: []string{kubelet}, args: []string{
			c.built("kubernetes", "kubelet"),
			"--config=" + kubelet,
			"--kubeconfig=" + c.kubeconfig("kubelet."+n.name),
			"--root-dir=" + c.path(n.name, "kubelet"),
			"--hostname-override=" + n.name,
			"--node-ip=" + n.address}}},
		{health: "http://127.0.0.1:10256/healthz", process: process{name: "kube-proxy." + n.name, within: n.name, files: []string{proxy}, args: []string{
			c.built("kubernetes", "kube-proxy"), "--config=" + proxy, "--hostname-override=" + n.name}}},
	}
}

// components are all of them, in the order of their start.
func (c cluster) components() []component {
	all := []component{c.dataStore(), c.apiServer()}
	all = append(all, c.controllers()...)
	for _, n := range nodes() {
		all = append(append(all, c.runtime(n)), c.agents(n)...)
	}
	return all
}

// well asks a component whether it is. The answer is "" if so.
func (c cluster) well(p component) string {
	if _, alive := c.running(p.name); !alive {
		return "ended"
	}
	if p.health == "" {
		return ""
	}
	client := http.Client{Transport: c.transport(p.within, nil), Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Get(p.health)
	if err != nil {
		return "does not answer"
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "answers " + response.Status
	}
	return ""
}
