package main

import (
	"fmt"
	"slices"
	"strings"
)

// arrange checks argv against the tables of verbs and flags and puts it into the order that the flag parser needs: the verb, its flags as --name=value, "--",
// then the arguments. Flags may stand before and after the arguments; "--" ends them.
func arrange(verbs []*verb, argv []string) ([]string, error) {
	if len(argv) == 0 {
		return []string{"help"}, nil
	}
	word, rest := argv[0], argv[1:]
	switch word {
	case "help", "-h", "--help", "-help":
		return arrangeHelp(verbs, rest)
	case "--version", "-version":
		word = "version"
	}
	if strings.HasPrefix(word, "-") {
		return nil, &usageError{what: fmt.Sprintf("%q stands where a verb is expected; flags follow the verb", word), valid: verbNames(verbs)}
	}
	v := findVerb(verbs, word)
	if v == nil {
		return nil, unknownVerb(verbs, word)
	}
	return v.arrange(rest)
}

func arrangeHelp(verbs []*verb, rest []string) ([]string, error) {
	if len(rest) == 0 {
		return []string{"help"}, nil
	}
	if findVerb(verbs, rest[0]) == nil {
		return nil, unknownVerb(verbs, rest[0])
	}
	return []string{"help", rest[0]}, nil
}

func unknownVerb(verbs []*verb, word string) error {
	names := verbNames(verbs)
	return &usageError{what: fmt.Sprintf("unknown verb %q", word), near: oneEdit(word, names), valid: names}
}

func findVerb(verbs []*verb, name string) *verb {
	k := slices.IndexFunc(verbs, func(v *verb) bool { return v.name == name })
	if k < 0 {
		return nil
	}
	return verbs[k]
}

func verbNames(verbs []*verb) []string {
	var names []string
	for _, v := range verbs {
		names = append(names, v.name)
	}
	return names
}

func (v *verb) arrange(rest []string) ([]string, error) {
	var (
		flags, args []string
		seen        = make(map[string]bool)
	)
	for i := 0; i < len(rest); i++ {
		word := rest[i]
		if word == "--" {
			args = append(args, rest[i+1:]...)
			break
		}
		if word == "-" || !strings.HasPrefix(word, "-") {
			args = append(args, word)
			continue
		}
		spelled, value, hasValue := strings.Cut(word, "=")
		name := strings.TrimLeft(spelled, "-")
		if name == "help" || name == "h" {
			return []string{"help", v.name}, nil
		}
		f := v.flag(name)
		if f == nil {
			return nil, v.unknownFlag(spelled, name)
		}
		if seen[f.name] && !f.many {
			return nil, usagef(v.name, "%s is given twice", f.dashed())
		}
		seen[f.name] = true
		switch {
		case f.value == "" && !hasValue:
			value = "true"
		case f.value == "" && value != "true" && value != "false":
			return nil, usagef(v.name, "%s takes no value, got %q", f.dashed(), value)
		case f.value != "" && !hasValue:
			if i+1 == len(rest) || v.isFlag(rest[i+1]) {
				return nil, usagef(v.name, "%s needs a value: %s %s", f.dashed(), f.dashed(), f.value)
			}
			i++
			value = rest[i]
		}
		flags = append(flags, "--"+f.name+"="+value)
	}
	if err := v.checkCount(args); err != nil {
		return nil, err
	}
	return slices.Concat([]string{v.name}, flags, []string{"--"}, args), nil
}

func (v *verb) checkCount(args []string) error {
	needed, most := len(v.args), len(v.args)
	if needed > 0 && v.args[needed-1].many {
		needed, most = needed-1, len(args)
	}
	switch {
	case len(args) < needed:
		return usagef(v.name, "%s is missing: trconvert %s", v.args[len(args)].name, v.usage())
	case len(args) > most:
		return usagef(v.name, "unexpected argument %q: trconvert %s", args[most], v.usage())
	}
	return nil
}

// isFlag says whether a word can only be meant as one of the verb's flags.
func (v *verb) isFlag(word string) bool {
	name, _, _ := strings.Cut(word, "=")
	return word == "--" || strings.HasPrefix(word, "-") && v.flag(strings.TrimLeft(name, "-")) != nil
}

func (v *verb) flag(name string) *flag {
	for _, f := range v.flags {
		if f.name == name || f.short != "" && f.short == name {
			return f
		}
	}
	return nil
}

func (v *verb) unknownFlag(spelled, name string) error {
	e := &usageError{verb: v.name, what: fmt.Sprintf("unknown flag %q", spelled)}
	var names []string
	for _, f := range v.flags {
		names = append(names, f.name)
		e.valid = append(e.valid, f.dashed())
	}
	if n := oneEdit(name, names); n != "" {
		e.near = v.flag(n).dashed()
	}
	return e
}
