package bench

import (
	"fmt"
	"strconv"
	"strings"

	"dyno/bench/record"
)

// repeat is the commands that make the result again, as far as it tells them.
func repeat(run *record.Run) []string {
	var lines []string
	if run.Commit.Hash != record.Unknown {
		lines = append(lines, "git checkout "+run.Commit.Hash)
	}
	lines = append(lines, "make build")
	set := configFlags(run.Config)
	_, name, _ := strings.Cut(run.ID, "-")
	switch {
	case run.Kind == record.KindSuite:
		line := "bin/dyno bench " + name + set("nodes", "partitions", "size=record_bytes", "repetitions", "window=window_s", "warmup=warmup_s")
		if len(run.Seeds) > 0 {
			line += fmt.Sprintf(" --seed %d", run.Seeds[0])
		}
		return append(lines, line)
	case run.Kind == record.KindComparison:
		return append(lines, "bin/dyno compare"+set("base", "head", "seed"))
	case name == searchName:
		return append(lines, repeatSearch(run, set))
	}
	name, quick := strings.CutSuffix(name, "-quick")
	line := "bin/dyno experiment " + strings.TrimSuffix(name, "-part") + set("only", "repetitions="+configAsked, "seed")
	if quick {
		line += " --quick"
	}
	for key := range run.Config {
		if strings.HasPrefix(key, versionOf) {
			lines = append(lines, "make build-peers")
			break
		}
	}
	return append(lines, line)
}

// configFlags writes flags as a configuration has them: each is FLAG, or FLAG=KEY where
// the key has another name. Lengths of time, whose keys end in _s, are seconds there. What
// the configuration does not tell is left out.
func configFlags(config map[string]any) func(flags ...string) string {
	return func(flags ...string) string {
		text := ""
		for _, f := range flags {
			flag, key, named := strings.Cut(f, "=")
			if !named {
				key = flag
			}
			v, ok := config[key]
			if !ok || v == "" {
				continue
			}
			word := fmt.Sprint(v)
			if n, isFloat := v.(float64); isFloat { // as files have every number
				word = strconv.FormatFloat(n, 'f', -1, 64)
			}
			if strings.HasSuffix(key, "_s") {
				word += "s"
			}
			text += " --" + flag + " " + word
		}
		return text
	}
}

// repeatSearch is the command of a search for the largest rate. A cluster that ran, and
// its topic, only their owner can name.
func repeatSearch(run *record.Run, set func(flags ...string) string) string {
	line := "bin/dyno maxrate"
	if slo, ok := run.Config["slo"].(string); ok {
		for _, bound := range strings.Split(slo, ",") {
			line += " --slo " + strings.Replace(bound, "<=", "=", 1)
		}
	}
	if run.Config["brokers"] != nil {
		line += " --brokers HOST:PORT,... --topic TOPIC"
	}
	if run.Config["create"] == true {
		line += " --create"
	}
	if fmt.Sprint(run.Config["producers"]) != "0" { // that is the generator's own number
		line += set("producers")
	}
	return line + set("nodes", "partitions", "rf", "acks", "size=record_bytes", "bad", "width", "start", "lowest", "highest", "trial=trial_s",
		"confirm=confirm_s", "warmup=warmup_s", "trials-max=trials_max", "seed")
}
