"""The decimal context in which money is computed."""

from decimal import ROUND_HALF_EVEN, Context

# Wide enough for any sum of DECIMAL(18,8) prices times factors times token counts: only the last step rounds, whatever
# the precision of the caller's own decimal context.
EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
