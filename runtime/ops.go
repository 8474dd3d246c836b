package runtime

// newestOpset is the newest version of the default domain whose changes this table follows.
const newestOpset = 27

// operators is the whole of what the runtime can do in the default domain: for each operator its versions in rising order. A
// node uses the last version that is not newer than the opset in force; an opset older than the first is not supported.
// since is the oldest opset for which the builder is right, so an entry that serves several versions of the specification
// alike stands once. A builder may look at nodeInfo.opset for small differences.
var operators map[string][]version

// The table is filled here and not in its declaration, because the builders of If, Loop and Scan compile subgraphs and so refer to it.
func init() {
	operators = map[string][]version{
		"Identity": {{1, buildIdentity}},
	}
}
