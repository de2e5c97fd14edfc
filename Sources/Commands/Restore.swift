internal import ArgumentParser
struct RestoreCommand: RunnableCommand { func execute() throws -> ExitStatus { .done } }
struct VerifyCommand: RunnableCommand { func execute() throws -> ExitStatus { .done } }
