"""A bottling line: filler, labeller and packer with conveyors, accumulation tables, one crew, breakdowns and rejects."""
