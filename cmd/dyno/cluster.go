package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// newClusterCommand is `dyno cluster`.
func newClusterCommand() *cobra.Command {
	var admin string
	cmd := &cobra.Command{
		Use:   "cluster status|verify|move|transfer --admin ADDR",
		Short: "Look at a running cluster, and move its replicas",
		Long: `Look at a running cluster, and move its replicas, through the admin address of any of its nodes.
Exit codes: 0 done, 1 replicas differ, 64 usage, 69 could not ask, or was refused.`,
		Example: "  dyno cluster status --admin 127.0.0.1:9292\n" +
			"  dyno cluster verify --topic t\n" +
			"  dyno cluster move --topic t --partition 0 --nodes 2,3,4\n" +
			"  dyno cluster move --topic t --partition 0 --cancel\n" +
			"  dyno cluster transfer --topic t --partition 0",
		Args: noArgs,
	}
	cmd.PersistentFlags().StringVar(&admin, "admin", "127.0.0.1:9292", "admin address of a node, host:port")
	cmd.AddCommand(newClusterStatus(&admin), newClusterVerify(&admin), newClusterMove(&admin), newClusterTransfer(&admin))
	return cmd
}

// partitionFlags name the partition of an operation.
type partitionFlags struct {
	topic     string
	partition int32
}

func (f *partitionFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.topic, "topic", "", "topic")
	cmd.Flags().Int32Var(&f.partition, "partition", -1, "partition")
}

func (f *partitionFlags) values() (url.Values, error) {
	if f.topic == "" || f.partition < 0 {
		return nil, usageError("want --topic and --partition")
	}
	return url.Values{"topic": {f.topic}, "partition": {fmt.Sprint(f.partition)}}, nil
}

func newClusterMove(admin *string) *cobra.Command {
	var f partitionFlags
	var to []string
	var cancel bool
	cmd := &cobra.Command{
		Use:   "move --topic T --partition N --nodes 1,2,3 | --cancel",
		Short: "Make nodes the replicas of a partition, the preferred leader first",
		Long: `Make nodes the replicas of a partition, the preferred leader first. It returns when the move is recorded; dyno cluster status
shows what is still moving. A new replica is sent the whole log before it counts; a node that holds none any more deletes it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := f.values()
			if err != nil {
				return err
			}
			if cancel == (len(to) > 0) {
				return usageError("want --nodes 1,2,3, or --cancel to take a move back")
			}
			v.Set("nodes", strings.Join(to, ","))
			_, err = ask(cmd.Context(), http.MethodPost, *admin, "/cluster/move", v)
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().StringSliceVar(&to, "nodes", nil, "ids of the nodes")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "take back a move under way")
	return cmd
}

func newClusterTransfer(admin *string) *cobra.Command {
	var f partitionFlags
	cmd := &cobra.Command{
		Use:   "transfer --topic T --partition N",
		Short: "Make a partition's preferred replica its leader",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := f.values()
			if err != nil {
				return err
			}
			_, err = ask(cmd.Context(), http.MethodPost, *admin, "/cluster/transfer", v)
			return err
		},
	}
	f.add(cmd)
	return cmd
}

// ask sends one request to a node's admin address.
func ask(ctx context.Context, method, admin, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+admin+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, usageError("--admin %q: want host:port", admin)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nodeError(fmt.Errorf("ask %s: %w", admin, err))
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", strings.TrimSpace(string(b)))
	}
	return b, nodeError(err)
}
