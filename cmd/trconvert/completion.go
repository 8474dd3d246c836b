package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

var shells = []string{"bash", "zsh", "fish"}

// completionCommand prints a script made from the command table.
type completionCommand struct{ shell string }

func (s completionCommand) run(_ context.Context, c *console) error {
	script := map[string]func([]*verb) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[s.shell]
	_, err := io.WriteString(c.out, script(verbs()))
	return err
}

// bashCompletion needs bash 4 and nothing else.
func bashCompletion(all []*verb) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# bash completion for trconvert

_trconvert_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }

_trconvert_files() {
    compopt -o filenames 2>/dev/null
    if [[ -n $1 ]]; then
        mapfile -t COMPREPLY < <(compgen -f -X "!*.$1" -- "$cur"; compgen -d -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

_trconvert() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _trconvert_words "%s help"
        return
    fi
    case ${COMP_WORDS[1]} in
    help)
        _trconvert_words "%[1]s"
        ;;
`, strings.Join(verbNames(all), " "))
	for _, v := range all {
		fmt.Fprintf(&b, "    %s)\n        case $prev in\n", v.name)
		var words []string
		for _, f := range v.flags {
			words = append(words, f.dashed())
			if f.value == "" {
				continue
			}
			action := "return"
			switch {
			case len(f.words) > 0:
				action = fmt.Sprintf("_trconvert_words %q; return", strings.Join(f.words, " "))
			case f.kind != noFile:
				action = "_trconvert_files" + bashPattern(f.kind) + "; return"
			}
			fmt.Fprintf(&b, "        %s) %s ;;\n", f.dashed(), action)
		}
		words = append(words, "--help")
		fmt.Fprintf(&b, "        esac\n        if [[ $cur == -* ]]; then\n            _trconvert_words %q\n", strings.Join(words, " "))
		switch {
		case len(v.args) == 0:
		case len(v.args[0].words) > 0:
			fmt.Fprintf(&b, "        else\n            _trconvert_words %q\n", strings.Join(v.args[0].words, " "))
		default:
			fmt.Fprintf(&b, "        else\n            _trconvert_files%s\n", bashPattern(v.args[0].kind))
		}
		b.WriteString("        fi\n        ;;\n")
	}
	b.WriteString("    esac\n}\n\ncomplete -F _trconvert trconvert\n")
	return b.String()
}

func bashPattern(k fileKind) string {
	if k == modelFile {
		return " onnx"
	}
	return ""
}

func zshCompletion(all []*verb) string {
	var b strings.Builder
	b.WriteString("#compdef trconvert\n\n_trconvert() {\n    local -a verbs\n    verbs=(\n")
	for _, v := range all {
		fmt.Fprintf(&b, "        %s\n", zshQuote(v.name+":"+v.short))
	}
	b.WriteString("        'help:help on a verb'\n    )\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\n    fi\n    local verb=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $verb in\n")
	fmt.Fprintf(&b, "    help)\n        _arguments '1:verb:(%s)'\n        ;;\n", strings.Join(verbNames(all), " "))
	for _, v := range all {
		fmt.Fprintf(&b, "    %s)\n        _arguments -s", v.name)
		for _, f := range v.flags {
			many := ""
			if f.many {
				many = "*"
			}
			spec := many + f.dashed() + "[" + zshText(f.brief()) + "]"
			if f.value != "" {
				spec += ":" + zshText(f.value) + ":" + zshAction(f.words, f.kind)
			}
			fmt.Fprintf(&b, " \\\n            %s", zshQuote(spec))
		}
		for i, a := range v.args {
			fmt.Fprintf(&b, " \\\n            %s", zshQuote(fmt.Sprintf("%d:%s:%s", i+1, a.name, zshAction(a.words, a.kind))))
		}
		b.WriteString("\n        ;;\n")
	}
	b.WriteString("    esac\n}\n\nif [[ $funcstack[1] == _trconvert ]]; then\n    _trconvert \"$@\"\nelse\n    compdef _trconvert trconvert\nfi\n")
	return b.String()
}

func zshAction(words []string, k fileKind) string {
	switch {
	case len(words) > 0:
		return "(" + strings.Join(words, " ") + ")"
	case k == modelFile:
		return `_files -g "*.onnx"`
	case k == anyFile:
		return "_files"
	}
	return " "
}

// zshText escapes what _arguments reads as syntax.
func zshText(s string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, "[", `\[`, "]", `\]`).Replace(s)
}

func zshQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func fishCompletion(all []*verb) string {
	var b strings.Builder
	b.WriteString("# fish completion for trconvert\n\ncomplete -c trconvert -f\n")
	for _, v := range all {
		fmt.Fprintf(&b, "complete -c trconvert -n __fish_use_subcommand -a %s -d %s\n", v.name, fishQuote(v.short))
	}
	b.WriteString("complete -c trconvert -n __fish_use_subcommand -a help -d 'help on a verb'\n")
	fmt.Fprintf(&b, "complete -c trconvert -n '__fish_seen_subcommand_from help' -a %s\n", fishQuote(strings.Join(verbNames(all), " ")))
	for _, v := range all {
		on := fmt.Sprintf("complete -c trconvert -n '__fish_seen_subcommand_from %s'", v.name)
		if len(v.args) > 0 {
			fmt.Fprintf(&b, "%s%s\n", on, fishAction(v.args[0].words, v.args[0].kind))
		}
		for _, f := range v.flags {
			letter := "-l"
			if len(f.name) == 1 {
				letter = "-s"
			}
			line := fmt.Sprintf("%s %s %s -d %s", on, letter, f.name, fishQuote(f.brief()))
			if f.value != "" {
				exclusive := " -x" // needs a value, which is no file
				if f.kind != noFile {
					exclusive = " -r"
				}
				line += exclusive + fishAction(f.words, f.kind)
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func fishAction(words []string, k fileKind) string {
	switch {
	case len(words) > 0:
		return " -a " + fishQuote(strings.Join(words, " "))
	case k == modelFile:
		return " -k -a '(__fish_complete_suffix .onnx)'"
	case k == anyFile:
		return " -F"
	}
	return ""
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// brief is a description that fits beside a completion.
func (f *flag) brief() string {
	if len(f.words) > 0 {
		return "one of " + strings.Join(f.words, ", ")
	}
	s := f.usage
	if k := strings.IndexAny(s, ";("); k > 0 {
		s = s[:k]
	}
	return strings.TrimSpace(s)
}
