"""Check ROIs and compare those of several annotators: findings, measures, agreement, consensus."""
