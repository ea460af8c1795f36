"""The text of a compiled program: a loop of 24 layers."""

# Cut down from what XLA prints for a TPU: a loop of 24 layers.
STATE = (
  '(s32[], bf16[8,64]{1,0}, s8[24,64,64]{2,1,0}, '
  '/*index=3*/bf16[24,8,64]{2,1,0})'
)
TEXT = """HloModule jit_step, is_scheduled=true

%multiply (p0: s8[24,64,64], p1: s32[], p2: bf16[8,64]) -> bf16[8,64] {
  %p0 = s8[24,64,64]{2,1,0:T(32,128)(4,1)} parameter(0)
  %p1 = s32[]{:T(128)} parameter(1)
  %p2 = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(2)
  %wide = bf16[24,64,64]{2,1,0} convert(%p0)
  %layer = bf16[1,64,64]{2,1,0} dynamic-slice(%wide, %p1, %p1, %p1)
  %kernel = bf16[64,64]{1,0} bitcast(%layer)
  ROOT %dot = bf16[8,64]{1,0} convolution(%p2, %kernel), dim_labels=bf_io->bf
}

%save (p0: bf16[24,8,64], p1: bf16[8,64], p2: s32[]) -> bf16[24,8,64] {
  %p0 = bf16[24,8,64]{2,1,0} parameter(0)
  %p1 = bf16[8,64]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  %row = bf16[1,8,64]{2,1,0} bitcast(%p1)
  ROOT %u = bf16[24,8,64]{2,1,0} dynamic-update-slice(%p0, %row, %p2, %p2, %p2)
}

%body (s: STATE) -> STATE {
  %s = STATE parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %x = bf16[8,64]{1,0} get-tuple-element(%s), index=1
  %w = s8[24,64,64]{2,1,0} get-tuple-element(%s), index=2
  %kept = bf16[24,8,64]{2,1,0} get-tuple-element(%s), index=3
  %y = bf16[8,64]{1,0:T(8,128)S(1)} fusion(%w, %i, %x), calls=%multiply
  %sum = bf16[8,64]{1,0} all-reduce(%y), channel_id=1, to_apply=%add
  %again = bf16[8,64]{1,0} all-reduce(%y), channel_id=1, to_apply=%add
  %saved = bf16[24,8,64]{2,1,0} fusion(%kept, %sum, %i), calls=%save
  ROOT %out = STATE tuple(%i, %sum, %w, %saved)
}

%condition (s: STATE) -> pred[] {
  %s.1 = STATE parameter(0)
  %j = s32[] get-tuple-element(%s.1), index=0
  %n = s32[]{:T(128)} constant(24)
  ROOT %lt = pred[] compare(%j, %n), direction=LT
}

%add (a: bf16[], b: bf16[]) -> bf16[] {
  %a = bf16[] parameter(0)
  %b = bf16[] parameter(1)
  ROOT %c = bf16[] add(%a, %b)
}

ENTRY %main (x: bf16[8,64], w: s8[24,64,64]) -> bf16[8,64] {
  %x.1 = bf16[8,64]{1,0} parameter(0)
  %w.1 = s8[24,64,64]{2,1,0} parameter(1)
  %zero = s32[] constant(0)
  %kept.1 = bf16[24,8,64]{2,1,0} broadcast(%zero), dimensions={}
  %start = STATE tuple(%zero, %x.1, %w.1, %kept.1)
  %loop = STATE while(%start), condition=%condition, body=%body
  ROOT %result = bf16[8,64]{1,0} get-tuple-element(%loop), index=1
}
""".replace('STATE', STATE)
