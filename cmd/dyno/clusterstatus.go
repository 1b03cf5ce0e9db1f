package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"dyno/engine"
	"dyno/engine/gossip"
	"dyno/engine/ids"

	"github.com/spf13/cobra"
)

func newClusterStatus(admin *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes, and where every partition lies",
		Long: `Show the nodes, where every partition lies, and what gossip believes.
The first two tables are what the metadata says, and what holds. The last is what the asked node believes of the others from
probing them: it decides nothing, and a node that it holds dead may well lead.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := ask(cmd.Context(), http.MethodGet, *admin, "/cluster", nil)
			if err != nil {
				return err
			}
			if asJSON {
				_, err := cmd.OutOrStdout().Write(b)
				return err
			}
			var s engine.ClusterStatus
			if err := json.Unmarshal(b, &s); err != nil {
				return nodeError(fmt.Errorf("%s answers something else: %w", *admin, err))
			}
			return printCluster(cmd.OutOrStdout(), &s)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printCluster(w io.Writer, s *engine.ClusterStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "cluster %s, controller %s, seen by node %d\n\n", s.ID, orNobody(s.Controller), s.Seen)
	fmt.Fprintln(t, "NODE\tSTATE\tKAFKA\tADMIN\tRACK\tLEADS\tHOLDS")
	for _, b := range s.Brokers {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%d\t%d\n", b.Node, b.State, b.Kafka, b.Admin, b.Rack, b.Leads, b.Holds)
	}
	fmt.Fprintln(t, "\nTOPIC\tPARTITION\tLEADER\tEPOCH\tREPLICAS\tIN SYNC\tOFFLINE\tMOVING")
	for _, p := range s.Partitions {
		moving := ""
		if len(p.Adding)+len(p.Removing) > 0 {
			moving = fmt.Sprintf("+%s -%s", nodes(p.Adding), nodes(p.Removing))
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\n", p.Topic, p.Partition, orNobody(p.Leader), p.Epoch,
			nodes(p.Replicas), nodes(p.ISR), nodes(p.Offline), moving)
	}
	printGossip(t, s.Gossip)
	return t.Flush()
}

// printGossip shows nothing for a node that has no others.
func printGossip(t io.Writer, list []gossip.Member) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(t, "\nGOSSIP BELIEVES\tSTATE\tFOR\tPEERS AT\tKAFKA\tRACK\tLEADS\tHOLDS\tBYTES IN/S\tDISK FREE GB")
	for _, m := range list {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.1f\n", m.Node, m.State, time.Since(m.Since).Round(time.Second),
			m.Peer, m.Kafka, m.Rack, m.Load.Leaders, m.Load.Replicas, m.Load.InBytes, float64(m.Load.DiskFree)/1e9)
	}
}

func orNobody(n ids.NodeID) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprint(n)
}

func nodes(list []ids.NodeID) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}
