"""Parts, looks and plans of procedural objects; `catalogue` lists the plans."""
