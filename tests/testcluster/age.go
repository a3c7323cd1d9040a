package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// aged are the resources that --namespace moves, by the key prefixes kube-apiserver gives them.
var aged = []string{
	"pods", "statefulsets", "controllerrevisions", "persistentvolumeclaims", "events", "configmaps", "secrets",
	"services/specs", "endpointslices", "poddisruptionbudgets", "replicasets", "deployments", "jobs", "leases",
	"horizontalpodautoscalers", "serviceaccounts",
}

func ageCommand() *cobra.Command {
	var endpoint, by, namespace string
	var annotations []string
	c := &cobra.Command{
		Use:   "age --etcd URL --by DURATION (--namespace NS | KEY-PREFIX…)",
		Short: "Move the timestamps of stored objects into the past, by compare-and-swap in etcd",
		Long: `Move the timestamps of stored objects into the past, by compare-and-swap in etcd.

The API server lets nobody set a creationTimestamp. In etcd it is a string like any other, so a canary can be nine days
old for every reader. Moved are metadata.creationTimestamp, managedFields, status and the times of events. What users
write stays as it is: spec, data, labels and annotations, because a changed template would be a new revision.`,
		SilenceUsage: true,
		RunE: func(_ *cobra.Command, prefixes []string) error {
			shift, err := parseAge(by)
			if err != nil {
				return err
			}
			if namespace != "" {
				for _, resource := range aged {
					prefixes = append(prefixes, "/registry/"+resource+"/"+namespace+"/")
				}
			}
			if len(prefixes) == 0 {
				return errors.New("name key prefixes or a --namespace")
			}
			return age(endpoint, prefixes, shift, annotations)
		},
	}
	c.Flags().StringVar(&endpoint, "etcd", "", "URL of etcd, as up prints it (required)")
	c.Flags().StringVar(&by, "by", "", "how far: a Go duration, or days as in 9d (required)")
	c.Flags().StringVar(&namespace, "namespace", "", "move what lies in this namespace")
	c.Flags().StringSliceVar(&annotations, "annotation", nil, "metadata.annotations to move too, if they hold a timestamp")
	for _, flag := range []string{"etcd", "by"} {
		if err := c.MarkFlagRequired(flag); err != nil {
			panic(err) // the flags are defined above
		}
	}
	return c
}

// parseAge reads a Go duration or a number of days.
func parseAge(text string) (time.Duration, error) {
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil {
			return 0, fmt.Errorf("--by %q: %w", text, err)
		}
		return time.Duration(n * 24 * float64(time.Hour)), nil
	}
	return time.ParseDuration(text)
}

func age(endpoint string, prefixes []string, by time.Duration, annotations []string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	moved := 0
	for _, prefix := range prefixes {
		answer, err := client.Get(ctx, prefix, clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range answer.Kvs {
			done, err := ageKey(ctx, client, string(kv.Key), kv.Value, kv.ModRevision, by, annotations)
			if err != nil {
				return fmt.Errorf("%s: %w", kv.Key, err)
			}
			if done {
				moved++
			}
		}
	}
	fmt.Printf("moved %d objects by %s\n", moved, by)
	return nil
}

// ageKey rewrites one object. When somebody else wrote it meanwhile, it starts again from what they wrote; an object
// that is gone meanwhile is nobody's loss.
func ageKey(ctx context.Context, client *clientv3.Client, key string, value []byte, revision int64, by time.Duration, annotations []string) (bool, error) {
	for {
		older, err := ageObject(value, by, annotations)
		if err != nil {
			return false, err
		}
		answer, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpPut(key, string(older), clientv3.WithIgnoreLease())). // events keep their expiry
			Else(clientv3.OpGet(key)).
			Commit()
		if err != nil {
			return false, err
		}
		if answer.Succeeded {
			return true, nil
		}
		found := answer.Responses[0].GetResponseRange().Kvs
		if len(found) == 0 {
			return false, nil
		}
		value, revision = found[0].Value, found[0].ModRevision
	}
}

func ageObject(value []byte, by time.Duration, annotations []string) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber() // a resourceVersion or a quantity must come out as it went in
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("not JSON; is the API server run with --storage-media-type=application/json? %w", err)
	}
	ageValue(object, by, annotations)
	return json.Marshal(object)
}

// ageValue moves the timestamps below a value, in place, and returns what takes the value's place.
func ageValue(value any, by time.Duration, annotations []string) any {
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			switch key {
			case "spec", "data", "labels", "fieldsV1":
			case "annotations":
				if own, isMap := child.(map[string]any); isMap {
					for name, text := range own {
						if slices.Contains(annotations, name) {
							own[name] = ageValue(text, by, nil)
						}
					}
				}
			default:
				v[key] = ageValue(child, by, annotations)
			}
		}
	case []any:
		for i, child := range v {
			v[i] = ageValue(child, by, annotations)
		}
	case string:
		// The two layouts of the API, metav1.Time and metav1.MicroTime, differ only in the fraction.
		for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05.000000Z07:00"} {
			if t, err := time.Parse(layout, v); err == nil && len(t.Format(layout)) == len(v) {
				return t.Add(-by).Format(layout)
			}
		}
	}
	return value
}
