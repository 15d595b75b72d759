// Command provisioner makes node-bound `local` volumes for claims of the cluster's default StorageClass, and grows them.
//
// It is the test cluster's stand-in for a cloud's CSI driver: the volume is a folder of the node that the scheduler
// picked, so it follows a pod's restart and dies with its node, as a local disk does. Sizes are only written down, never
// enforced. Snapshots, clones and block volumes are deliberately absent.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// driverName is what a StorageClass names as its provisioner.
const driverName = "outrigger.dev/node-bound"

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the kubeconfig file to reach the API server with")
	volumes := flag.String("volumes", "", "the folder of volumes, with %s for the node's name")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *kubeconfig, *volumes); err != nil {
		fmt.Fprintln(os.Stderr, "provisioner:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, volumes string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot read the kubeconfig %q: %w", kubeconfig, err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("cannot make a client of %q: %w", kubeconfig, err)
	}
	shared := informers.NewSharedInformerFactory(client, 0)
	claims := shared.Core().V1().PersistentVolumeClaims()
	grower, err := newGrower(client, claims)
	if err != nil {
		return err
	}
	provision := controller.NewProvisionController(ctx, client, driverName, folders{pattern: volumes},
		controller.LeaderElection(false), // one process, started and ended with the cluster
		controller.ClaimsInformer(claims.Informer()),
		controller.ResyncPeriod(time.Minute))
	shared.Start(ctx.Done())
	go grower.run(ctx)
	klog.FromContext(ctx).Info("provisioner is running", "driver", driverName, "volumes", volumes)
	provision.Run(ctx)
	return nil
}
