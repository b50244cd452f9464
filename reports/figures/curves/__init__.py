"""ROC, DET, CMC, TPIR over FPIR, OSCR, and the angles of pairs."""
