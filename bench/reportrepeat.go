package bench

import (
	"encoding/json"
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
		line := "bin/dyno bench " + name + set("nodes", "partitions", "size=record_bytes", "repetitions", "window=window_s", "warmup=warmup_s") + producers(run, set)
		if len(run.Seeds) > 0 {
			line += fmt.Sprintf(" --seed %d", run.Seeds[0])
		}
		return append(lines, line)
	case run.Kind == record.KindComparison:
		return append(lines, repeatComparison(run, set)...)
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

// producers is how many there were, unless it is the number that there are anyway: 0
// stands for the generator's own, and a suite has its usual one, which it stated before
// there was a flag for another.
func producers(run *record.Run, set func(flags ...string) string) string {
	switch n := fmt.Sprint(run.Config["producers"]); {
	case n == "0", run.Kind == record.KindSuite && n == fmt.Sprint(suiteProducers):
		return ""
	}
	return set("producers")
}

// compared is what the command of a comparison is told from, beside plain flags.
type compared struct {
	Base, Head, Lane, Mutant, Settings string
	Rule                               struct {
		Metrics []struct{ Name string }
		Looks   []int
		Nulls   int
	}
	Limits map[string]any
}

// repeatComparison is the command of a comparison, after the one that writes the file of
// the brokers' settings, if they had any.
func repeatComparison(run *record.Run, set func(flags ...string) string) (lines []string) {
	var c compared
	raw, err := json.Marshal(run.Config)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return nil // a result of another time: no command is better than a wrong one
	}
	line := "bin/dyno compare"
	if len(c.Rule.Looks) > 1 || c.Rule.Nulls > 0 {
		line = "bin/dyno gate --lane t"
	}
	line += set("base", "head")
	if c.Lane == "micro" {
		line += " --micro"
	}
	if len(c.Rule.Looks) == 1 {
		line += fmt.Sprintf(" --blocks %d", c.Rule.Looks[0])
	}
	if len(c.Rule.Metrics) == 1 {
		line += " --metric " + c.Rule.Metrics[0].Name
	}
	line += set("mutant", "window=window_s", "warmup=warmup_s")
	if c.Settings != "" {
		lines = append(lines, "cat > settings.yaml <<'END'\n"+strings.TrimRight(c.Settings, "\n")+"\nEND")
		line += " --config settings.yaml"
	}
	line += configFlags(c.Limits)("steal-max=steal", "foreign-max=foreign", "memory-max=psi_memory") + set("seed")
	if c.Base == c.Head && c.Mutant == "" {
		line += " --anyway"
	}
	return append(lines, line)
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
	return line + producers(run, set) + set("nodes", "partitions", "rf", "acks", "size=record_bytes", "bad", "width", "start", "lowest", "highest", "trial=trial_s",
		"confirm=confirm_s", "warmup=warmup_s", "trials-max=trials_max", "seed")
}
