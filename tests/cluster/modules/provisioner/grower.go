package main

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

// grower does what a CSI driver's resizer does: it gives a bound volume the size that its claim asks for, then tells
// the claim. It never shrinks: the API server refuses that.
type grower struct {
	client kubernetes.Interface
	claims listers.PersistentVolumeClaimLister
	synced cache.InformerSynced
	queue  workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

func newGrower(client kubernetes.Interface, claims informers.PersistentVolumeClaimInformer) (*grower, error) {
	g := &grower{
		client: client,
		claims: claims.Lister(),
		synced: claims.Informer().HasSynced,
		// A conflict with another writer is gone a moment later: retry soon, but not for ever at that pace.
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](50*time.Millisecond, 5*time.Second)),
	}
	enqueue := func(object any) {
		if name, err := cache.ObjectToName(object); err == nil {
			g.queue.Add(name)
		}
	}
	_, err := claims.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
	})
	if err != nil {
		return nil, fmt.Errorf("cannot watch claims: %w", err)
	}
	return g, nil
}

// run grows volumes until the context ends.
func (g *grower) run(ctx context.Context) {
	go func() {
		<-ctx.Done()
		g.queue.ShutDown()
	}()
	if !cache.WaitForCacheSync(ctx.Done(), g.synced) {
		return
	}
	for {
		name, stopped := g.queue.Get()
		if stopped {
			return
		}
		if err := g.grow(ctx, name); err != nil {
			klog.FromContext(ctx).Error(err, "cannot grow a volume; it is tried again", "claim", name)
			g.queue.AddRateLimited(name)
		} else {
			g.queue.Forget(name)
		}
		g.queue.Done(name)
	}
}

// grow sets the sizes of one claim's volume, if the claim asks for more than it has.
func (g *grower) grow(ctx context.Context, name cache.ObjectName) error {
	claim, err := g.claims.PersistentVolumeClaims(name.Namespace).Get(name.Name)
	if err != nil {
		return nil // deleted meanwhile
	}
	wanted := claim.Spec.Resources.Requests[v1.ResourceStorage]
	has := claim.Status.Capacity[v1.ResourceStorage]
	if claim.Status.Phase != v1.ClaimBound || wanted.Cmp(has) <= 0 {
		return nil
	}
	volume, err := g.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if volume.Annotations["pv.kubernetes.io/provisioned-by"] != driverName {
		return nil // another driver's volume
	}
	// The volume first: a crash between the two writes leaves a claim that still asks, and is served again.
	if size := volume.Spec.Capacity[v1.ResourceStorage]; wanted.Cmp(size) > 0 {
		volume.Spec.Capacity[v1.ResourceStorage] = wanted
		if _, err := g.client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	claim = claim.DeepCopy()
	claim.Status.Capacity[v1.ResourceStorage] = wanted
	claim.Status.Conditions = nil
	_, err = g.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	return err
}
