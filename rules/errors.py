"""What can be wrong with a rules file.

ServiceError(Exception)
  DocumentError   a YAML file of ours has mistakes; `problems` lists all of them, not only the first.
                  RulesError is its name here.
"""

from service.document import DocumentError as RulesError
from service.document import Problem

__all__ = ["Problem", "RulesError"]
