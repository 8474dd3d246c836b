package term

import (
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Column is a table column; figures are aligned to the right.
type Column struct {
	Title  string
	Figure bool
	Wrap   int // longest line, 0 for no limit
}

// Table writes rows under columns, without borders, ending in a line feed. Cells are escaped.
func Table(columns []Column, rows [][]string) string {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true}
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	var (
		header  table.Row
		configs []table.ColumnConfig
	)
	for k, c := range columns {
		header = append(header, c.Title)
		cc := table.ColumnConfig{Number: k + 1, WidthMax: c.Wrap}
		if c.Wrap > 0 {
			cc.WidthMaxEnforcer = text.WrapSoft
		}
		if c.Figure {
			cc.Align, cc.AlignHeader = text.AlignRight, text.AlignRight
		}
		configs = append(configs, cc)
	}
	t.SetColumnConfigs(configs)
	t.AppendHeader(header)
	for _, r := range rows {
		var row table.Row
		for _, cell := range r {
			row = append(row, Escape(cell))
		}
		t.AppendRow(row)
	}
	lines := strings.Split(t.Render(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}
