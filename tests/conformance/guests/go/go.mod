module pillion/conformance/guest

go 1.24
