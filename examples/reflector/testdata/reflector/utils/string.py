from pydantic import constr

NonEmptyString = constr(min_length=1)
