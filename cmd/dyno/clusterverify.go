package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"dyno/engine"

	"github.com/spf13/cobra"
)

func newClusterVerify(admin *string) *cobra.Command {
	var topic string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [--topic T]",
		Short: "Read every replica of every partition, and say whether they hold the same bytes",
		Long: `Read every replica of every partition at its own node, up to what is committed now, and compare their checksums.
It reads all that the nodes hold, so it takes disk and CPU from clients. Exit codes: 0 all the same, 1 they differ or one did not
answer, 64 usage, 69 could not ask.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := engine.CompareReplicas(cmd.Context(), http.DefaultClient, *admin, topic)
			if err != nil {
				return nodeError(err)
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(list)
			} else {
				err = printCompared(cmd.OutOrStdout(), list)
			}
			differ := 0
			for i := range list {
				if !list[i].Same {
					differ++
				}
			}
			if err == nil && differ > 0 {
				err = &exitError{exitViolation, fmt.Errorf("%d of %d partitions have replicas that differ, or that did not answer", differ, len(list))}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&topic, "topic", "", "topic (default all)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printCompared(w io.Writer, list []engine.Compared) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TOPIC\tPARTITION\tREPLICAS\tFROM\tTO\tBYTES\tCRC32C\tVERDICT")
	for i := range list {
		c := &list[i]
		verdict := "same"
		if !c.Same {
			verdict = c.Problem
		}
		var r engine.Checksum
		if len(c.Replicas) > 0 {
			r = c.Replicas[0]
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%08x\t%s\n", c.Topic, c.Partition, len(c.Replicas), r.From, r.To, r.Bytes, r.CRC32C, verdict)
	}
	return t.Flush()
}
