package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// pinned names the built components, as folders of the cache: "kubernetes-1.37.2,containerd-2.4.2,…". build.sh sets it
// when it links, so that a version is written down in one go.mod and nowhere else.
var pinned string

const (
	lockFile = "lock"
	logsDir  = "logs"
	// maxDir keeps the kubelets' sockets below the 107 bytes that a Unix socket's address has: the longest is
	// /node-1/kubelet/device-plugins/kubelet.sock.
	maxDir = 107 - 43

	nodeCount      = 3
	controlAddress = "10.90.0.1" // the bridge's own address: the control plane outlives every node's link
	nodeNetwork    = "10.90.0.0/24"
	podNetwork     = "10.244.0.0/16"
	serviceNetwork = "10.96.0.0/16"
	apiServiceIP   = "10.96.0.1" // the first of the range: the API server takes it for itself
	clusterDomain  = "cluster.local"
	apiServerURL   = "https://" + controlAddress + ":6443"
	etcdURL        = "http://127.0.0.1:2379" // only the control plane's namespace reaches it
)

// cluster is where everything of one cluster stands. Its id is made of the folder's path, so that two checkouts never
// share a cgroup, and so that `down` finds what a killed `up` left without having been told.
type cluster struct {
	cache string // holds the built components
	dir   string // holds all that a running cluster writes
	id    string // names its cgroups
}

// node is one of the cluster's machines: a network namespace, a containerd, a kubelet and a kube-proxy.
type node struct {
	name    string // "node-1"
	address string
	pods    string // the range of its pods' addresses
	gateway string // the pods' way out: the node's end of its pod bridge
}

// findCluster finds the cache that this binary stands in: build.sh put it into CACHE/clusterctl/.
func findCluster() (cluster, error) {
	binary, err := os.Executable()
	if err != nil {
		return cluster{}, fmt.Errorf("cannot find this binary's own folder: %w", err)
	}
	cache := filepath.Dir(filepath.Dir(binary))
	dir := filepath.Join(cache, "cluster")
	if len(dir) > maxDir {
		return cluster{}, fmt.Errorf("the folder %s is longer than the %d bytes that leave room for a socket's name: set OUTRIGGER_CACHE to a shorter path", dir, maxDir)
	}
	for _, hidden := range hiddenFolders {
		if strings.HasPrefix(dir, hidden+"/") {
			return cluster{}, fmt.Errorf("the folder %s is below %s, which the nodes see an empty one of: set OUTRIGGER_CACHE to a path elsewhere", dir, hidden)
		}
	}
	sum := sha256.Sum256([]byte(dir))
	return cluster{cache: cache, dir: dir, id: fmt.Sprintf("outrigger-test-%x", sum[:3])}, nil
}

// path is a place below the cluster's folder.
func (c cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// built is a file of a component that build.sh built: built("kubernetes", "kubectl").
func (c cluster) built(component string, file string) string {
	for _, folder := range strings.Split(pinned, ",") {
		if strings.HasPrefix(folder, component+"-") {
			return filepath.Join(c.cache, folder, file)
		}
	}
	// Only a clusterctl that was built without build.sh comes here; the path's absence is reported when it is used.
	return filepath.Join(c.cache, component+"-unpinned", file)
}

func nodes() []node {
	all := make([]node, nodeCount)
	for i := range all {
		n := i + 1
		all[i] = node{
			name:    fmt.Sprintf("node-%d", n),
			address: fmt.Sprintf("10.90.0.%d", 10+n),
			pods:    fmt.Sprintf("10.244.%d.0/24", n),
			gateway: fmt.Sprintf("10.244.%d.1", n),
		}
	}
	return all
}

// findNode finds a node by its name.
func findNode(name string) (node, error) {
	for _, n := range nodes() {
		if n.name == name {
			return n, nil
		}
	}
	return node{}, fmt.Errorf("no node is named %q: the nodes are node-1 to node-%d", name, nodeCount)
}
