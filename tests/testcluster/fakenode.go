package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/component-base/version"
	"k8s.io/utils/ptr"
)

const (
	// leaseInterval is short against the controller manager's grace period of 20 s, so that a busy machine loses no node.
	leaseInterval = 3 * time.Second
	// repeatInterval is how often an event about a fault that lasts is written again; kubelet's own is about that.
	repeatInterval = 10 * time.Second
	// recheckInterval is how often a missing ConfigMap or Secret is looked for again.
	recheckInterval = 2 * time.Second
)

// fakeNode stands in for a kubelet: it registers a node, and gives its pods the statuses their annotations ask for.
type fakeNode struct {
	client      kubernetes.Interface
	name, root  string
	labels      map[string]string
	taints      []corev1.Taint
	recorders   map[recorderKey]record.EventRecorder
	pods        cache.Store
	queue       workqueue.TypedRateLimitingInterface[string]
	lost        atomic.Bool
	execWarning sync.Once
	mutex       sync.Mutex
	memory      map[types.UID]*memory
}

// memory is what the node knows of a pod beside its stored status. All of it can be lost: times that matter to anyone
// are read back from the status, so that a test may move them (see the age applet).
type memory struct {
	seen     time.Time            // with the fraction of a second that startTime lacks
	repeated map[string]time.Time // when an event about a lasting fault was last written
	failures map[string]int       // how many failures of its probe were written, by the container's ID
}

func fakeNodeCommand() *cobra.Command {
	var config, cert, key, zone, labels, taints string
	var untilEOF bool
	n := &fakeNode{memory: map[types.UID]*memory{}}
	c := &cobra.Command{
		Use:   "fakenode",
		Short: "Register a node that runs no containers but reports what the annotations of its pods ask for",
		Args:  cobra.NoArgs, SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			stop, done := stopSignal(untilEOF)
			defer done()
			var err error
			if n.labels, err = parseLabels(labels); err != nil {
				return err
			}
			if zone != "" {
				n.labels[corev1.LabelTopologyZone] = zone
			}
			if n.taints, err = parseTaints(taints); err != nil {
				return err
			}
			return n.run(stop, config, cert, key)
		},
	}
	c.Flags().StringVar(&config, "kubeconfig", "", "an administrator's kubeconfig (required)")
	c.Flags().StringVar(&n.name, "name", "node-1", "name of the node")
	c.Flags().StringVar(&zone, "zone", "", "value of the label "+corev1.LabelTopologyZone)
	c.Flags().StringVar(&labels, "labels", "", "more labels: KEY=VALUE,…")
	c.Flags().StringVar(&taints, "taints", "", "taints: KEY=VALUE:EFFECT,…")
	c.Flags().StringVar(&n.root, "root", "", "folder for the file systems of containers (required)")
	c.Flags().StringVar(&cert, "cert", "", "certificate of the kubelet's server (required)")
	c.Flags().StringVar(&key, "key", "", "key of the kubelet's server (required)")
	c.Flags().BoolVar(&untilEOF, "until-eof", false, "end when standard input closes")
	for _, flag := range []string{"kubeconfig", "root", "cert", "key"} {
		if err := c.MarkFlagRequired(flag); err != nil {
			panic(err) // the flags are defined above
		}
	}
	return c
}

func parseLabels(text string) (map[string]string, error) {
	labels := map[string]string{}
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		key, value, ok := strings.Cut(item, "=")
		if !ok {
			return nil, fmt.Errorf("label %q is not KEY=VALUE", item)
		}
		labels[key] = value
	}
	return labels, nil
}

func parseTaints(text string) ([]corev1.Taint, error) {
	var taints []corev1.Taint
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		pair, effect, ok := strings.Cut(item, ":")
		if !ok {
			return nil, fmt.Errorf("taint %q is not KEY=VALUE:EFFECT", item)
		}
		key, value, _ := strings.Cut(pair, "=")
		taints = append(taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
	}
	return taints, nil
}

func (n *fakeNode) run(stop <-chan struct{}, kubeconfig, cert, key string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 1000, 2000
	if n.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	n.recorders = map[recorderKey]record.EventRecorder{}

	port, err := n.serve(cert, key)
	if err != nil {
		return err
	}
	if err := n.register(ctx, port); err != nil {
		return fmt.Errorf("register node %s: %w", n.name, err)
	}
	n.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	n.watchNode(ctx)
	n.watchPods(ctx)
	go n.renewLease(ctx)
	for range 4 { // a key is never worked on twice at a time: the queue sees to that
		go n.work(ctx)
	}
	<-stop
	n.queue.ShutDown()
	return nil
}

// recorder writes events as a kubelet does: 25 of a pod and type, then one in 5 minutes (client-go's
// EventSourceObjectSpamFilter). Another burst than 25 makes the budget of a pod smaller, so that a test sees it used up.
// A recorder writes one event after the other. This node has the pods of a hundred real ones, so that it has several.
func (n *fakeNode) recorder(ctx context.Context, pod *corev1.Pod, burst int) record.EventRecorder {
	const shards = 16
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(pod.UID))
	key := recorderKey{burst: burst, shard: hash.Sum32() % shards}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.recorders[key] == nil {
		broadcaster := record.NewBroadcaster(record.WithContext(ctx), record.WithCorrelatorOptions(record.CorrelatorOptions{BurstSize: burst}))
		broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: n.client.CoreV1().Events("")})
		n.recorders[key] = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: n.name})
	}
	return n.recorders[key]
}

// recorderKey tells recorders apart.
type recorderKey struct {
	burst int // how many events of a pod are written at once, 0 for a kubelet's number
	shard uint32
}

// watchPods feeds the queue with the keys of this node's pods.
func (n *fakeNode) watchPods(ctx context.Context) {
	factory := informers.NewSharedInformerFactoryWithOptions(n.client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", n.name).String()
	}))
	informer := factory.Core().V1().Pods().Informer()
	n.pods = informer.GetStore()
	enqueue := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			n.queue.Add(key)
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, object any) { enqueue(object) }, DeleteFunc: enqueue,
	})
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
}

// watchNode follows the annotation that makes this node lost.
func (n *fakeNode) watchNode(ctx context.Context) {
	factory := informers.NewSharedInformerFactoryWithOptions(n.client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", n.name).String()
	}))
	informer := factory.Core().V1().Nodes().Informer()
	look := func(object any) {
		node, ok := object.(*corev1.Node)
		if !ok {
			return
		}
		lost := node.Annotations[annotationPrefix+"lost"] == "true"
		if n.lost.Swap(lost) && !lost {
			for _, key := range n.pods.ListKeys() {
				n.queue.Add(key)
			}
		}
	}
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: look, UpdateFunc: func(_, object any) { look(object) }})
	factory.Start(ctx.Done())
}

func (n *fakeNode) work(ctx context.Context) {
	for {
		key, down := n.queue.Get()
		if down {
			return
		}
		after, err := n.sync(ctx, key)
		switch {
		case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
			n.queue.AddRateLimited(key) // somebody else wrote: look again
		case err != nil:
			fmt.Fprintf(os.Stderr, "%s: %v\n", key, err)
			n.queue.AddRateLimited(key)
		default:
			n.queue.Forget(key)
			if after > 0 {
				n.queue.AddAfter(key, after)
			}
		}
		n.queue.Done(key)
	}
}

// register creates the node, or takes over the one that is there, and writes its status.
func (n *fakeNode) register(ctx context.Context, port int) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{
			corev1.LabelHostname: n.name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}},
		Spec: corev1.NodeSpec{Taints: n.taints},
	}
	for key, value := range n.labels {
		node.Labels[key] = value
	}
	if _, err := n.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	resources := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("64Gi"),
		corev1.ResourcePods: resource.MustParse("1000"), corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
	status := corev1.NodeStatus{
		Capacity: resources, Allocatable: resources,
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: loopback}, {Type: corev1.NodeHostName, Address: n.name},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}},
		NodeInfo: corev1.NodeSystemInfo{
			KubeletVersion: version.Get().GitVersion, OperatingSystem: "linux", Architecture: "amd64", ContainerRuntimeVersion: "fake://1",
		},
		Conditions: nodeConditions(),
	}
	// A patch, because the node controllers may have written the new node already.
	return n.patchNode(ctx, map[string]any{"status": status})
}

func nodeConditions() []corev1.NodeCondition {
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return []corev1.NodeCondition{
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
	}
}

func (n *fakeNode) patchNode(ctx context.Context, patch any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = n.client.CoreV1().Nodes().Patch(ctx, n.name, types.MergePatchType, body, metav1.PatchOptions{}, "status")
	return err
}

// renewLease keeps the node alive for as long as it is not lost. A node that was lost says Ready again, because the
// node controller has set its conditions to Unknown meanwhile.
func (n *fakeNode) renewLease(ctx context.Context) {
	leases := n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	wasLost := false
	for {
		if lost := n.lost.Load(); lost {
			wasLost = true
		} else {
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: n.name}, Spec: coordinationv1.LeaseSpec{
				HolderIdentity: &n.name, LeaseDurationSeconds: ptr.To[int32](40), RenewTime: &metav1.MicroTime{Time: time.Now()},
			}}
			old, err := leases.Get(ctx, n.name, metav1.GetOptions{})
			if err == nil {
				lease.ResourceVersion = old.ResourceVersion
				_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
			} else if apierrors.IsNotFound(err) {
				_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
			}
			if err == nil && wasLost {
				err = n.patchNode(ctx, map[string]any{"status": map[string]any{"conditions": nodeConditions()}})
				wasLost = err != nil
			}
			if err != nil && ctx.Err() == nil {
				fmt.Fprintf(os.Stderr, "lease: %v\n", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(leaseInterval):
		}
	}
}

// tail returns the last lines of a text; a negative number means all.
func tail(text string, lines int) string {
	if lines < 0 {
		return text
	}
	var all []string
	scanner := bufio.NewScanner(strings.NewReader(text))
	for scanner.Scan() {
		all = append(all, scanner.Text()+"\n")
	}
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// copyAndClose copies and then tells the receiver that no more will come; a command that reads to the end waits for it.
func copyAndClose(to io.WriteCloser, from io.Reader) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
}
