"""Export: a plan as a checkpoint that others load. ``plans.export.registry.FORMATS`` lists the formats."""
