;;! covers: refusal
;;! about: A start that traps.
;;! refused: refuse_garbage

(func (export "_initialize") (unreachable))
