"""FTCL: fine-grained temporal contrastive learning for weakly-supervised action localisation."""
