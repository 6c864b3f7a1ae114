"""Learning: features, models, training, serving, registry, drift; may import twin. Nothing lives here yet."""
