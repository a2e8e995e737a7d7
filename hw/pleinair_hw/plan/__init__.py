"""What an accelerator will be, before there is one: graph, costs, folding, boards."""
