package pytorch

import (
	"strconv"
	"strings"
)

// reservedNames are words of Python and names that the module has for itself.
var reservedNames = strings.Fields(`False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise
	return try while with yield match case type print range list dict int float bool str tuple max min sum len zip map open reversed sorted iter next enumerate slice set abs all any
	torch nn F math json os struct self super base64 Model Factored INPUTS OUTPUTS WEIGHTS METADATA HERE load read_safetensors write_safetensors
	forward training train eval parameters buffers modules children named_parameters named_buffers metadata weights get_extra_state set_extra_state register_backward_hook register_forward_hook register_forward_pre_hook register_full_backward_hook
	register_load_state_dict_post_hook register_module named_modules named_children state_dict load_state_dict save save_weights load_weights
	register_parameter register_buffer apply cuda cpu half double bfloat16 to zero_grad requires_grad_ share_memory extra_repr add_module get_parameter get_buffer get_submodule dump_patches
	T_destination call_super_init compile ipu xpu to_empty`)

// ident makes a name of Python of a name that may hold anything, and takes it.
func (p *printer) ident(name string) string {
	var b strings.Builder
	for _, r := range name {
		if r < 0x80 && (r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			b.WriteRune(r)
		} else {
			b.WriteByte('_')
		}
		if b.Len() >= 48 {
			break
		}
	}
	// Names that begin with _ are the library's.
	base := strings.Trim(b.String(), "_")
	for strings.Contains(base, "__") {
		base = strings.ReplaceAll(base, "__", "_")
	}
	if base == "" || base[0] >= '0' && base[0] <= '9' {
		base = "v" + base
	}
	id := base
	for k := 2; p.idents[id]; k++ {
		id = base + "_" + strconv.Itoa(k)
	}
	p.idents[id] = true
	return id
}
